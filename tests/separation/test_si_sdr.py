import pytest
import torch

from tests.separation.si_sdr import si_sdr


def test_orthogonal_noise_gives_the_ratio_of_energies():
    time = torch.arange(16_000, dtype=torch.float64) / 16_000
    target = torch.sin(2 * torch.pi * 100 * time)
    noise = torch.sin(2 * torch.pi * 200 * time)
    for decibel in (-10.0, 0.0, 15.0):
        estimate = target + noise * 10 ** (-decibel / 20)
        assert si_sdr(estimate, target) == pytest.approx(decibel, abs=1e-6)


def test_neither_scale_nor_offset_of_either_matters():
    target, estimate = torch.randn(2, 3, 500, dtype=torch.float64)
    expected = si_sdr(estimate, target)
    assert expected.shape == (3,)
    torch.testing.assert_close(si_sdr(-7 * estimate + 3, target), expected)
    torch.testing.assert_close(si_sdr(estimate, target / 9 - 1), expected)


def test_silence_is_no_division_by_zero():
    silence, sound = torch.zeros(100), torch.randn(100)
    for estimate, target in ((silence, sound), (sound, silence), (silence, silence)):
        assert torch.isfinite(si_sdr(estimate, target))
