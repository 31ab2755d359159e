import librosa
import numpy as np
import pytest
import torch

from audiossl.audio.resampling import context, num_resampled, resample, resample_blocks
from audiossl.errors import UserError

RATES = [(44_100, 16_000), (16_000, 44_100), (48_000, 16_000), (8_000, 16_000)]


def by_torchaudio(signal, from_rate, to_rate):
    return resample(torch.from_numpy(signal), from_rate, to_rate).numpy()


def by_soxr(signal, from_rate, to_rate, block=4999):
    blocks = (signal[i : i + block, None] for i in range(0, len(signal), block))
    return np.concatenate(list(resample_blocks(blocks, from_rate, to_rate)))[:, 0]


def tone(frequency, sample_rate, seconds=1.0):
    time = np.arange(int(sample_rate * seconds)) / sample_rate
    return np.sin(2 * np.pi * frequency * time).astype(np.float32)


def level(signal):
    """Level in dB of the inner half, relative to a sine of amplitude 1."""
    inner = signal[len(signal) // 4 : -len(signal) // 4].astype(np.float64)
    return 10 * np.log10(2 * np.mean(inner**2) + 1e-30)


@pytest.mark.parametrize(("resampler", "edge"), [(by_torchaudio, 0.97), (by_soxr, 0.92)])
@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
def test_tones_in_the_passband_keep_their_level(resampler, edge, from_rate, to_rate):
    nyquist = min(from_rate, to_rate) / 2
    for fraction in (0.01, 0.3, 0.8, edge):
        signal = tone(fraction * nyquist, from_rate)
        assert abs(level(resampler(signal, from_rate, to_rate))) < 0.1


@pytest.mark.parametrize("resampler", [by_torchaudio, by_soxr])
@pytest.mark.parametrize("from_rate", [44_100, 48_000, 96_000])
def test_tones_that_would_alias_vanish(resampler, from_rate):
    for frequency in (8_000, 8_050, 8_300, 11_000, 15_900, 21_000):
        assert level(resampler(tone(frequency, from_rate), from_rate, 16_000)) < -100


@pytest.mark.parametrize("resampler", [by_torchaudio, by_soxr])
@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
def test_the_result_is_the_same_tone_without_delay(resampler, from_rate, to_rate):
    found = resampler(tone(1234.5, from_rate), from_rate, to_rate)
    expected = tone(1234.5, to_rate)
    inner = slice(to_rate // 4, -to_rate // 4)
    np.testing.assert_allclose(found[: len(expected)][inner], expected[inner], atol=3e-5)


def test_blocks_agree_with_librosa_whatever_their_size():
    signal = np.random.default_rng(0).standard_normal(30_000).astype(np.float32)
    expected = librosa.resample(signal, orig_sr=44_100, target_sr=16_000, res_type="soxr_hq")
    for block in (1, 777, 30_000):
        found = by_soxr(signal[: 3_000 if block == 1 else None], 44_100, 16_000, block)
        inner = slice(0, len(found) - 200 if block == 1 else None)
        np.testing.assert_allclose(found[inner], expected[: len(found)][inner], atol=1e-5)


@pytest.mark.parametrize("num_samples", [1, 2, 3, 100, 44_101, 99_999])
@pytest.mark.parametrize(("from_rate", "to_rate"), [*RATES, (11_025, 16_000), (44_099, 16_000)])
def test_the_number_of_samples_is_known_before(num_samples, from_rate, to_rate):
    found = by_soxr(np.zeros(num_samples, np.float32), from_rate, to_rate)
    assert len(found) == num_resampled(num_samples, from_rate, to_rate)


@pytest.mark.parametrize(("from_rate", "to_rate"), [(16_000, 44_100), (44_100, 16_000)])
def test_a_piece_with_its_context_equals_the_whole(from_rate, to_rate):
    whole = torch.randn(2, from_rate)
    step, out = from_rate // 100, to_rate // 100
    margin = -(-context(from_rate, to_rate) // step)
    piece = whole[:, (20 - margin) * step : (50 + margin) * step]
    found = resample(piece, from_rate, to_rate)[:, margin * out : (margin + 30) * out]
    expected = resample(whole, from_rate, to_rate)[:, 20 * out : 50 * out]
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)


def test_equal_rates_change_nothing():
    waveforms = torch.randn(2, 100)
    assert torch.equal(resample(waveforms, 16_000, 16_000), waveforms)
    assert context(16_000, 16_000) == 0


def test_rates_without_a_common_divisor_are_refused_with_the_way_out():
    with pytest.raises(
        UserError, match=r"44099 Hz to 44100 Hz.*read_audio\(path, sample_rate=44100"
    ):
        resample(torch.zeros(1, 100), 44_099, 44_100)
