from importlib.util import find_spec

import librosa
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from audiossl.errors import UserError
from audiossl.nn.pooling import masked_mean
from audiossl.teachers import ge2e
from tests.teachers.corpus import padded, rows, waveform
from tests.teachers.padding import check_padding_does_not_matter, check_short_rows_have_no_frames

needs_wheel = pytest.mark.skipif(find_spec("resemblyzer") is None, reason="wheel not installed")


@pytest.mark.parametrize("make", [ge2e.Ge2eTeacher, pytest.param(ge2e.load, marks=needs_wheel)])
def test_padding_does_not_matter(make):
    teacher = make()
    check_padding_does_not_matter(teacher, seconds=(0.7, 3.3, 1.8))
    check_short_rows_have_no_frames(teacher, too_short=200)


def test_one_window_is_embedded_as_in_the_paper():
    teacher = ge2e.Ge2eTeacher()
    sound = 0.5 * torch.randn(1, 160 * 160 - 80)
    mels = librosa.feature.melspectrogram(
        y=sound[0].numpy(), sr=16000, n_fft=400, hop_length=160, n_mels=40, pad_mode="reflect"
    )
    hidden, (last, _) = teacher.lstm(torch.from_numpy(mels.T[None]))
    frames = teacher(sound, torch.tensor([sound.shape[1]]))
    torch.testing.assert_close(frames.vectors, hidden, atol=1e-4, rtol=1e-3)
    embedding = F.normalize(F.relu(teacher.linear(last[-1])), dim=1)
    torch.testing.assert_close(frames.pooled, embedding, atol=1e-4, rtol=1e-3)


def test_no_frame_hears_more_than_1_6_seconds_back():
    teacher = ge2e.Ge2eTeacher()
    sound = 0.5 * torch.randn(1, 64000)
    later = sound.clone()
    later[:, :32000] = 0.5 * torch.randn(1, 32000)
    ours, other = (teacher(each, torch.tensor([64000])).vectors for each in (sound, later))
    assert not torch.allclose(ours[0, 230], other[0, 230])
    torch.testing.assert_close(ours[0, 361:], other[0, 361:])


def test_loudness_matters_only_above_30_decibels():
    teacher = ge2e.Ge2eTeacher()
    quiet = 1e-3 * torch.randn(1, 20000)
    lengths = torch.tensor([20000])
    torch.testing.assert_close(
        teacher(quiet, lengths).vectors, teacher(5 * quiet, lengths).vectors, atol=1e-5, rtol=1e-4
    )
    assert not torch.allclose(
        teacher(200 * quiet, lengths).vectors, teacher(800 * quiet, lengths).vectors
    )
    assert torch.isfinite(teacher(torch.zeros(1, 20000), lengths).vectors).all()


def equal_error_rate(embeddings, speakers):
    similarity = (F.normalize(embeddings, dim=1) @ F.normalize(embeddings, dim=1).T).numpy()
    pairs = np.triu_indices(len(speakers), 1)
    same = np.array([speakers[a] == speakers[b] for a, b in zip(*pairs, strict=True)])
    same = same[np.argsort(-similarity[pairs])]
    accepted = np.cumsum(same) / same.sum()
    falsely = np.cumsum(~same) / (~same).sum()
    return float(falsely[np.abs(1 - accepted - falsely).argmin()])


@needs_wheel
def test_it_knows_speakers_apart():
    chosen, count = [], {}
    for row in rows("speech.csv"):
        # asterisk_es may be the same person as allison_smith.
        long_enough = float(row["duration"]) >= 1.5 and row["speaker"] != "asterisk_es"
        if long_enough and count.setdefault(row["speaker"], 0) < 8:
            count[row["speaker"]] += 1
            chosen.append(row)
    speakers = [row["speaker"] for row in chosen]
    sounds, lengths = padded([waveform(row)[: 3 * 16000] for row in chosen])
    rates = {}
    for name, teacher in {"trained": ge2e.load(), "random": ge2e.Ge2eTeacher()}.items():
        frames = teacher(sounds, lengths)
        rates[name] = equal_error_rate(frames.pooled, speakers)
        rates[f"{name} frames"] = equal_error_rate(
            masked_mean(frames.vectors, frames.lengths), speakers
        )
    print(rates, len(chosen), count)
    assert rates["trained"] < 0.08
    assert rates["trained frames"] < 0.1
    assert min(rates["random"], rates["random frames"]) > 0.2


def test_says_how_to_get_the_wheel(monkeypatch, tmp_path):
    monkeypatch.setattr(ge2e, "WHEEL", "no-such-distribution==1.0")
    with pytest.raises(UserError, match=r"pip install --no-deps no-such-distribution==1.0"):
        ge2e.load()
    torch.save({"model_state": {"lstm.weight_ih_l0": torch.zeros(2, 2)}}, tmp_path / "other.pt")
    with pytest.raises(UserError, match="weights do not fit the network"):
        ge2e.load(str(tmp_path / "other.pt"))
