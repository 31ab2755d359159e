"""Golden values: an independent float64 re-implementation that agrees with TensorFlow to 7.5e-6."""

import math

import pytest
import torch

from audiossl.features.log_mel import LogMel, LogMelConfig, mel_bands


@pytest.fixture
def front_end() -> LogMel:
    return LogMel(LogMelConfig())


def test_the_mel_matrix_has_the_golden_sums():
    bands = mel_bands(LogMelConfig())
    assert bands.shape == (513, 64)
    assert float(bands.sum()) == pytest.approx(484.441257, abs=1e-5)
    golden = [1.858699, 5.923577, 19.469977]
    assert bands.sum(0)[[0, 31, 63]].tolist() == pytest.approx(golden, abs=1e-5)
    counts = (bands > 0).sum(0)
    assert (int(counts.min()), int(counts.max())) == (4, 39)
    assert bands[:, 0].nonzero().flatten().tolist() == [4, 5, 6, 7]
    assert bands[:, 63].nonzero().flatten()[[0, -1]].tolist() == [461, 499]


def test_a_tone_has_the_golden_values(front_end):
    tone = torch.sin(2 * math.pi * 440 * torch.arange(16000, dtype=torch.float64) / 16000)
    frames = front_end((tone / tone.norm()).float()[None])[0]
    golden = [-7.122226, -5.154511, 0.463937, 0.980325, 0.248058, -7.850095, -11.512925, -11.512925]
    assert frames.shape == (98, 64)
    assert frames[0, [0, 5, 9, 10, 11, 20, 40, 63]].tolist() == pytest.approx(golden, abs=1e-4)
    assert float(frames.mean()) == pytest.approx(-8.807856, abs=1e-4)


def test_an_impulse_has_the_golden_values(front_end):
    impulse = torch.zeros(1, 16000)
    impulse[0, 200] = 1.0
    frames = front_end(impulse)[0, :, [0, 31, 63]]
    assert frames[0].tolist() == pytest.approx([0.619877, 1.778940, 2.968874], abs=1e-4)
    assert frames[1].tolist() == pytest.approx([-1.728841, -0.569778, 0.620156], abs=1e-4)
    assert frames[2].tolist() == pytest.approx([math.log(1e-5)] * 3, abs=1e-6)


def test_lengths_count_whole_windows(front_end):
    samples = [16000, 15360, 64000, 465984, 480000, 400, 399, 0, 1]
    expected = [98, 94, 398, 2910, 2998, 1, 0, 0, 0]
    assert front_end.lengths(torch.tensor(samples)).tolist() == expected
    for count in (399, 400, 559, 560, 5360):
        frames = front_end(torch.randn(2, count))
        assert frames.shape[1] == int(front_end.lengths(torch.tensor([count])))


def test_valid_frames_do_not_see_what_comes_after_them(front_end):
    waveform = torch.randn(1, 8000)
    longer = torch.cat([waveform, torch.randn(1, 3000)], dim=1)
    frames = front_end(waveform)
    torch.testing.assert_close(front_end(longer)[:, : frames.shape[1]], frames)
