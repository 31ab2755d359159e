import numpy as np
import pytest

from audiossl.audio.encoding import common_gain, flac_bytes, pcm16
from audiossl.audio.files import audio_info, read_waveform
from audiossl.errors import UserError


def noise(peak, seed=0):
    waveform = np.random.default_rng(seed).uniform(-1, 1, 16_000).astype(np.float32)
    return waveform * np.float32(peak / np.abs(waveform).max())


def test_levels_come_back_to_half_a_step(tmp_path):
    for peak in (1.0, 0.3, 1e-3, 0.0):
        waveform = noise(1.0) * np.float32(peak)
        (tmp_path / "stem.flac").write_bytes(flac_bytes(waveform, 16_000))
        found = read_waveform(tmp_path / "stem.flac")
        np.testing.assert_allclose(found, waveform, atol=0.5001 / 2**15 + (peak == 1) / 2**15)
    assert audio_info(tmp_path / "stem.flac").encoding == "PCM_16"


def test_sixteen_bit_audio_survives_bit_for_bit():
    steps = np.arange(-(2**15), 2**15, dtype=np.int16)
    np.testing.assert_array_equal(pcm16(steps.astype(np.float32) / 2**15), steps)


def test_the_same_samples_give_the_same_bytes():
    assert flac_bytes(noise(0.5), 16_000) == flac_bytes(noise(0.5), 16_000)


@pytest.mark.parametrize("peak", [1.001, 3.0, np.nan])
def test_what_would_clip_is_refused(peak):
    waveform = noise(0.5)
    waveform[100] = peak
    with pytest.raises(UserError, match=r"would clip.*common_gain"):
        flac_bytes(waveform, 16_000)


def test_one_gain_for_all_is_exact_and_no_larger_than_needed():
    stems = [noise(0.5), noise(1.7, seed=1), noise(0.01, seed=2)]
    gain = common_gain(stems)
    assert gain == 0.5
    for stem in stems:
        np.testing.assert_array_equal(stem * np.float32(gain) / np.float32(gain), stem)
        pcm16(stem * np.float32(gain))
    assert common_gain([noise(1.0)]) == common_gain([]) == common_gain([noise(0.0)]) == 1.0
    assert common_gain([noise(2.0)]) == 0.5
