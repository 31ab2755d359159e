"""Each augmentation does what it says, to the crops it was drawn for, on any number of ranks."""

import math

import pytest
import torch
import torchaudio.functional as audio

from audiossl import distributed
from audiossl.errors import UserError
from audiossl.features.augmentations import Augmentations, AugmentationsConfig
from audiossl.features.spec_augment import SpecAugmentConfig

NOTHING = {"filter": 0.0, "delay": 0.0, "polarity": 0.0, "gain": 0.0}
RATE = 16000


def changed(waveforms, noise=None, responses=None, seed=0, **settings):
    config = AugmentationsConfig(**{**NOTHING, **settings})
    generator = torch.Generator().manual_seed(seed)
    return Augmentations(config).waveforms(waveforms, noise, responses, generator)


def tone(frequency, seconds=1.0):
    return 0.1 * torch.sin(2 * math.pi * frequency * torch.arange(round(seconds * RATE)) / RATE)


def pitch_of(wave):
    spectrum = torch.fft.rfft(wave * torch.hann_window(len(wave))).abs()
    return float(spectrum.argmax()) * RATE / len(wave)


def level(wave):
    return 20 * math.log10(float(wave.square().mean().sqrt()))


def test_without_augmentations_crops_stay_as_they_are():
    waveforms = torch.randn(4, 4000)
    assert torch.equal(changed(waveforms), waveforms)


def test_levels_and_polarity_are_within_their_ranges():
    waveforms = torch.randn(200, 100)
    found = changed(waveforms, gain=6.0, polarity=0.5)
    factors = (found / waveforms)[:, 0]
    torch.testing.assert_close(found, waveforms * factors[:, None])
    decibels = 20 * factors.abs().log10()
    assert -6.01 <= float(decibels.min()) < -5.5
    assert 5.5 < float(decibels.max()) <= 6.01
    assert 0.4 < float((factors < 0).float().mean()) < 0.6


@pytest.mark.parametrize(
    ("low", "oracle"), [(True, audio.lowpass_biquad), (False, audio.highpass_biquad)]
)
def test_filters_are_torchaudios_each_row_with_its_own_cutoff(low, oracle):
    waveforms = 0.1 * torch.randn(3, 2000)
    draws = torch.tensor([0.0, 0.5, 1.0])
    augment = Augmentations(AugmentationsConfig(low_pass=(500.0, 2000.0), high_pass=(100.0, 400.0)))
    found = augment._filtered(waveforms, torch.tensor([low] * 3), draws)
    cutoffs = (500, 1000, 2000) if low else (100, 200, 400)
    for row, wave, cutoff in zip(found, waveforms, cutoffs, strict=True):
        torch.testing.assert_close(row, oracle(wave, RATE, cutoff), atol=1e-5, rtol=1e-4)


def test_an_echo_is_a_quieter_copy_later():
    click = torch.zeros(50, 8000)
    click[:, 0] = 1.0
    found = changed(click, delay=1.0, delays=(0.1, 0.2))
    for row in found:
        (place,) = torch.nonzero(row[1:].abs() > 1e-3)[:, 0] + 1
        assert 1600 <= place <= 3200
        assert -12.01 <= 20 * math.log10(float(row[place])) <= -2.99


def test_rooms_are_convolutions():
    waveforms, responses = torch.randn(3, 4000), torch.randn(3, 4000)
    found = changed(waveforms, responses=responses, reverb=1.0)
    expected = audio.fftconvolve(waveforms, responses)[:, :4000]
    torch.testing.assert_close(found, expected)


def test_noise_has_the_ratio_that_was_asked_for():
    waveforms, noise = torch.randn(20, 4000), 7 * torch.randn(20, 4000)
    found = changed(waveforms, noise, noise_probability=1.0, ratio=(10.0, 12.0))
    for wave, row in zip(waveforms, found, strict=True):
        assert 9.9 < level(wave) - level(row - wave) < 12.1


def near(found, expected):
    """Which of the expected values each found one is, within 1 %."""
    return [min(expected, key=lambda e: abs(e - f)) for f in found
            if min(abs(e / f - 1) for e in expected) < 0.01]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"speeds": (0.9, 1.0, 1.1)}, (900, 1000, 1100)),
        ({"pitches": (-100, 0, 100)}, (944, 1000, 1059)),
    ],
)
def test_speed_and_pitch_move_tones(settings, expected):
    found = near([pitch_of(row) for row in changed(tone(1000).repeat(30, 1), **settings)], expected)
    assert len(found) == 30
    assert set(found) == set(expected)


def test_pitch_keeps_the_tempo_and_speed_does_not():
    burst = tone(1000)[None].clone()
    burst[:, :9600] = 0.0
    burst[:, 12800:] = 0.0
    times = torch.arange(RATE) / RATE

    def center(rows):
        return float((rows.square() * times).sum() / rows.square().sum())

    assert abs(center(changed(burst, pitches=(100,))) - 0.7) < 0.02
    assert abs(center(changed(burst, speeds=(1.1,))) - 0.7 / 1.1) < 0.02


@pytest.mark.parametrize("cents", [-1200, 1200])
def test_octaves_are_those_of_torchaudio(cents):
    rows = 0.1 * torch.randn(2, 3000)
    expected = audio.pitch_shift(rows, RATE, cents, bins_per_octave=1200)
    torch.testing.assert_close(changed(rows, pitches=(cents,)), expected)


@pytest.mark.parametrize("cents", [-100, 37, 350])
def test_shifts_are_as_many_cents_as_asked(cents):
    (found,) = changed(tone(1000, 4.0)[None], pitches=(cents,))
    spectrum = torch.fft.rfft(found * torch.hann_window(len(found)), 2**22).abs()
    pitch = float(spectrum.argmax()) * RATE / 2**22
    assert 1200 * math.log2(pitch / 1000) == pytest.approx(cents, abs=0.3)


def test_what_becomes_silent_or_infinite_stays_as_it_was():
    hum = tone(50).repeat(8, 1)
    found = changed(hum, filter=1.0, low_pass=(7e3, 7.9e3), high_pass=(7e3, 7.9e3))
    # Low-pass filters leave the hum, high-pass ones would leave -86 dB of it.
    assert torch.allclose(found[:, 2000:].std(dim=1), hum[:, 2000:].std(dim=1), rtol=0.05)
    silence = torch.zeros(2, 4000)
    everything = changed(silence, torch.randn(2, 4000), noise_probability=1.0, gain=10.0)
    assert torch.equal(everything, silence)
    nothing = changed(torch.ones(2, 400), torch.zeros(2, 400), noise_probability=1.0)
    assert torch.equal(nothing, torch.ones(2, 400))


def _rows(waveforms):
    config = AugmentationsConfig(speeds=(0.95, 1.05), pitches=(0, 50), masks=SpecAugmentConfig())
    augment, generator = Augmentations(config), torch.Generator().manual_seed(1)
    own = distributed.own_rows(waveforms)
    found = augment.waveforms(own, own.flip(1), own.roll(1, 1), generator)
    features = found.unfold(1, 40, 40)
    lengths = torch.full((len(own),), features.shape[1])
    return found, augment.features(features, lengths, generator)


def test_two_ranks_and_parts_of_a_batch_draw_what_one_draws(two_processes):
    waveforms = torch.randn(8, 4000)
    whole = _rows(waveforms)
    shares = two_processes.run(_rows, waveforms)
    for one, parts in zip(whole, zip(*shares, strict=True), strict=True):
        torch.testing.assert_close(torch.cat(parts), one)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ratio": (20.0, 10.0)}, "augmentations.ratio 20.0 to 10.0: give the lower one first"),
        ({"low_pass": (100.0, 9000.0)}, "give cutoffs below 8000 Hz"),
        ({"speeds": ()}, "augmentations.speeds: there is nothing to draw"),
    ],
)
def test_ranges_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        Augmentations(AugmentationsConfig(**settings))
