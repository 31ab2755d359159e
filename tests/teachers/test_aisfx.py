import importlib.util
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torchaudio.functional as audio

from audiossl.errors import UserError
from audiossl.teachers import aisfx
from tests.teachers.corpus import padded, rows, waveform
from tests.teachers.padding import check_padding_does_not_matter, check_short_rows_have_no_frames

needs_wheel = pytest.mark.skipif(find_spec("aisfx") is None, reason="wheel not installed")


def small():
    teacher = aisfx.AisfxTeacher(width=8)
    for module in teacher.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.bias.normal_(0, 0.1)
    return teacher


def test_padding_does_not_matter():
    teacher = small()
    check_padding_does_not_matter(teacher, seconds=(0.9, 2.3, 1.4))
    check_short_rows_have_no_frames(teacher, too_short=7 * 1024 - 1)


def test_filters_cover_the_spectrum_with_sums_of_one():
    filters = aisfx.AisfxTeacher(width=1).mel.filters
    assert filters.shape == (1025, 96)
    torch.testing.assert_close(filters.sum(dim=0), torch.ones(96))
    centers = filters.argmax(dim=0)
    assert (centers.diff() >= 0).all()


@needs_wheel
def test_the_network_is_the_wheels():
    # The one file of its code that imports nothing but torch.
    path = Path(find_spec("aisfx").origin).parent / "models" / "cnn2d.py"
    spec = importlib.util.spec_from_file_location("cnn2d_of_the_wheel", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    teacher = aisfx.load()
    theirs = module.EmbeddingNet("max", 3, 1, 64).eval()
    theirs.load_state_dict(
        {n: v for n, v in teacher.state_dict().items() if n.startswith("conv_block")}
    )
    block = torch.rand(2, 100, 96)
    with torch.no_grad():
        expected = theirs(block)
    frames = teacher.encode_features(block, torch.tensor([100, 100]))
    assert frames.lengths.tolist() == [12, 12]
    torch.testing.assert_close(frames.pooled, expected, atol=1e-5, rtol=1e-4)


def share_of_right_neighbors(embeddings, labels):
    similarity = F.normalize(embeddings, dim=1) @ F.normalize(embeddings, dim=1).T
    nearest = similarity.fill_diagonal_(-1).argmax(dim=1).tolist()
    return sum(labels[a] == labels[b] for a, b in enumerate(nearest)) / len(labels)


@needs_wheel
def test_it_knows_sounds_apart():
    chosen, count = [], {}
    for row in rows("sounds.csv"):
        wanted = 0.25 < float(row["duration"]) < 1.2
        if wanted and count.setdefault(row["category"], 0) < 8:
            count[row["category"]] += 1
            chosen.append(row)
    labels = [row["category"] for row in chosen]
    sounds, lengths = padded([audio.resample(waveform(row), 16000, 44100) for row in chosen])
    shares = {}
    for name, teacher in {"trained": aisfx.load(), "random": aisfx.AisfxTeacher()}.items():
        frames = teacher(sounds, lengths)
        shares[name] = share_of_right_neighbors(frames.pooled, labels)
    power, num_frames = teacher.mel(sounds, lengths)
    means = torch.stack([p[:n].mean(0) for p, n in zip(power, num_frames, strict=True)])
    shares["mel"] = share_of_right_neighbors((1 + 1e4 * means).log10(), labels)
    print(shares, count)
    assert shares["trained"] > 0.5
    assert shares["trained"] > max(shares["random"], shares["mel"]) + 0.12


class _Runs:
    def __reduce__(self):
        return print, ("it ran",)


def test_says_what_is_wrong(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(aisfx, "WHEEL", "no-such-distribution==1.0")
    with pytest.raises(UserError, match=r"pip install --no-deps no-such-distribution==1.0"):
        aisfx.load()
    torch.save(({"embedding_net.x": _Runs()}, {}), tmp_path / "evil.pth")
    with pytest.raises(UserError, match=r"evil.pth: refused.*would run code"):
        aisfx.load(str(tmp_path / "evil.pth"))
    assert "it ran" not in capsys.readouterr().out
    torch.save(({"embedding_net.x": torch.zeros(1)}, {}), tmp_path / "other.pth")
    with pytest.raises(UserError, match="weights do not fit the network"):
        aisfx.load(str(tmp_path / "other.pth"))
