import struct
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from audiossl.errors import UserError
from audiossl.pretrained.load import load_encoder
from audiossl.teachers import pocketsphinx
from tests.teachers.corpus import rows, waveform
from tests.teachers.padding import check_padding_does_not_matter, check_short_rows_have_no_frames

needs_wheel = pytest.mark.skipif(find_spec("pocketsphinx") is None, reason="wheel not installed")


def model(phones=2, densities=4):
    """Means, variances and log weights of a small model."""
    means = torch.randn(phones, 3, densities, 13)
    weights = torch.rand(3, densities, 3 * phones)
    return means, means.square() + 0.5, (weights / weights.sum(1, keepdim=True)).log()


@pytest.mark.parametrize(
    "make",
    [
        lambda: pocketsphinx.PocketSphinxTeacher(*model()),
        pytest.param(pocketsphinx.load, marks=needs_wheel),
    ],
)
def test_padding_does_not_matter(make):
    teacher = make()
    check_padding_does_not_matter(teacher, most_lost=2.6)
    check_short_rows_have_no_frames(teacher, too_short=409)


def test_likelihoods_are_those_of_mixtures_of_gaussians():
    means, variances, log_weights = model()
    teacher = pocketsphinx.PocketSphinxTeacher(means, variances, log_weights)
    streams = torch.randn(1, pocketsphinx.BLOCK + 5, 3, 13)
    found = teacher.log_likelihoods(streams)
    for state in range(6):
        expected = 0.0
        for stream in range(3):
            normal = Normal(means[state // 3, stream], variances[state // 3, stream].sqrt())
            mixture = MixtureSameFamily(
                Categorical(logits=log_weights[stream, :, state]), Independent(normal, 1)
            )
            expected = expected + mixture.log_prob(streams[:, :, stream])
        torch.testing.assert_close(found[..., state], expected, atol=1e-4, rtol=1e-4)


def test_loudness_does_not_matter():
    teacher = pocketsphinx.PocketSphinxTeacher(*model())
    sound, lengths = 0.05 * torch.randn(1, 9000), torch.tensor([9000])
    torch.testing.assert_close(
        teacher(sound, lengths).vectors, teacher(4 * sound, lengths).vectors, atol=1e-4, rtol=1e-3
    )


@needs_wheel
def test_the_likeliest_states_are_those_of_the_decoder(tmp_path):
    """The decoder looks at the four nearest Gaussians, and rounds to a tenth."""
    english = (row for row in rows("speech.csv") if row["language"] == "en")
    sound = waveform(max(english, key=lambda row: float(row["duration"])))
    samples = (sound * 32767).numpy().astype("<i2")
    decoded = decoder_scores(samples, tmp_path)
    frames = pocketsphinx.load()(sound[None], torch.tensor([len(sound)]))
    # It fills the last window with silence.
    ours = frames.vectors[0].numpy()
    theirs = decoded[: len(ours)]
    # The first and last frames have no neighbors, and the two make them up differently.
    best, inner = ours.argmax(axis=1), slice(3, -3)
    higher = (theirs > np.take_along_axis(theirs, best[:, None], axis=1)).sum(axis=1)[inner]
    assert (higher == 0).mean() > 0.7, (higher == 0).mean()
    assert (higher < 3).mean() > 0.95, (higher < 3).mean()


def decoder_scores(samples, folder):
    """Log-likelihoods of the 126 states that do not depend on neighbors, up to a constant."""
    import pocketsphinx as wheel

    decoder = wheel.Decoder(
        allphone=wheel.get_model_path("en-us/en-us-phone.lm.bin"), lm=None, senlogdir=str(folder),
        compallsen=True, remove_noise=False, loglevel="FATAL",
    )  # fmt: skip
    decoder.start_utt()
    decoder.process_raw(samples.tobytes(), full_utt=True)
    decoder.end_utt()
    (log,) = folder.iterdir()
    content = log.read_bytes().partition(b"endhdr\n")[2][4:]
    rows = np.frombuffer(content, "<i2").reshape(-1, 5127)
    assert (rows[:, 0] == 5126).all()
    return -rows[:, 1:127].astype(float)


def gaussians(values, counts=(2, 3, 4), dims=(13, 13, 13)):
    body = struct.pack("<4i", *counts, *dims[:1]) + struct.pack("<3i", *dims[1:], len(values))
    return (
        b"s3\nversion 1.0\nendhdr\n" + struct.pack("<I", 0x11223344) + body
        + np.asarray(values, "<f4").tobytes()
    )  # fmt: skip


def weights(values, states=6, densities=4):
    lines = [b"cluster_count 0\0"]
    header = b"".join(struct.pack("<i", len(line)) + line for line in lines)
    return header + struct.pack("<3i", 0, densities, states) + bytes(values)


def write(folder, **files):
    content = {
        "means": gaussians(range(2 * 3 * 4 * 13)),
        "variances": gaussians([1.0] * (2 * 3 * 4 * 13)),
        "sendump": weights([10] * (3 * 4 * 6)),
    } | files
    for name, value in content.items():
        (folder / name).write_bytes(value)
    return str(folder)


def test_files_are_read_as_they_are_written(tmp_path):
    teacher = pocketsphinx.load(write(tmp_path))
    expected = torch.arange(2 * 3 * 4 * 13.0).view(2, 3, 4, 13).transpose(0, 1)
    torch.testing.assert_close(teacher.means, expected)
    step = 1024 * np.log(1.0001)
    torch.testing.assert_close(teacher.weights, torch.full((3, 2, 4, 3), np.exp(-10 * step)))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"means": b"RIFF"}, "means: no file of Gaussians"),
        ({"means": gaussians([])[:40]}, "means: ends within its counts"),
        ({"means": gaussians([])[:30]}, "means: ends within its counts"),
        ({"means": gaussians([], counts=(2, -3, 4))}, "means: 13 values of streams"),
        ({"means": gaussians(range(311))}, "means: 311 values"),
        ({"variances": gaussians(range(312))[:-4]}, "variances: ends after 311 of 312 values"),
        ({"sendump": weights([1] * 60)}, "sendump: 60 weights, expected 3 x 4 x 6"),
        ({"sendump": weights([1] * 60, states=5)}, "weights of 5 states and 4 Gaussians"),
        ({"sendump": struct.pack("<i", -4) * 5}, "sendump: ends within its header"),
        ({"sendump": b"\1"}, "sendump: ends within its header"),
    ],
)
def test_a_broken_file_is_named(tmp_path, files, message):
    with pytest.raises(UserError, match=message):
        pocketsphinx.load(write(tmp_path, **files))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="means: No such file"):
        pocketsphinx.load(str(tmp_path))


@needs_wheel
def test_it_tells_phones_apart_better_than_a_spectrum():
    scores = {
        name: phone_accuracy(load_encoder(source))
        for name, source in {"pocketsphinx": "pocketsphinx:", "log-mel": "log_mel:40"}.items()
    }
    print(f"\nphones of a Russian reader, accuracy: {scores}")
    assert scores["pocketsphinx"] > scores["log-mel"] + 0.05


def phone_accuracy(teacher):
    """Of a linear discriminant of means over segments, learned on half of the sentences."""
    splits = {row["path"]: row["split"] for row in rows("speech.csv")}
    vectors, phones = ([], []), ([], [])
    sentences = [row for row in rows("phones.csv") if splits[row["path"]] != "test"]
    for number, row in enumerate(sentences):
        sound = waveform(row)
        frames = teacher(sound[None], torch.tensor([len(sound)]))
        for segment in row["phones"].split("|"):
            times, phone = segment.split(" ")
            start, end = (int(float(time) * teacher.frame_rate) for time in times.split("-"))
            if phone != "pau" and start < int(frames.lengths):
                part = frames.vectors[0, start : max(end, start + 1)]
                vectors[number % 2].append(part.mean(dim=0).numpy())
                phones[number % 2].append(phone)
    (learned, asked), (known, wanted) = vectors, phones
    discriminant = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(learned, known)
    return float(discriminant.score(asked, wanted))
