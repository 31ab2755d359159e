import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from audiossl.audio.files import read_waveform
from audiossl.errors import UserError
from audiossl.separation.decomposition import Decomposition, DecompositionConfig, decompose
from audiossl.separation.recordings import separate_recordings
from audiossl.separation.separator import Separator
from tests.data import corpora
from tests.oracles.decomposition import librosas_stems
from tests.separation.mixtures import CORPUS, evenly, music, rows
from tests.separation.si_sdr import si_sdr

RATE = 16_000
CONFIG = DecompositionConfig()


def tone(frequency, seconds=4.0):
    time = np.arange(int(RATE * seconds)) / RATE
    return (0.2 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def clicks(seconds=4.0):
    signal = np.zeros(int(RATE * seconds), np.float32)
    signal[1000 :: RATE // 2] = 0.9
    return signal


def share(stem, mixture):
    return float(np.square(stem).sum() / np.square(mixture).sum())


@pytest.mark.parametrize("num_samples", [1, 100, 2_047, 2_048, 5_000, 40_001])
def test_stems_sum_to_the_mixture_whatever_its_length(num_samples):
    mixture = np.random.default_rng(0).standard_normal(num_samples).astype(np.float32)
    stems = decompose(mixture, RATE, CONFIG)
    assert list(stems) == ["drums", "bass", "vocals", "other"]
    np.testing.assert_allclose(np.sum(list(stems.values()), axis=0), mixture, atol=1e-6)


def test_each_kind_of_sound_goes_where_its_name_says():
    assert share(decompose(clicks(), RATE, CONFIG)["drums"], clicks()) > 0.9
    assert share(decompose(tone(80.0), RATE, CONFIG)["bass"], tone(80.0)) > 0.9
    assert share(decompose(tone(1_000.0), RATE, CONFIG)["other"], tone(1_000.0)) > 0.9


def test_what_does_not_repeat_is_vocals():
    chord = sum(tone(f, 12.0) for f in (400.0, 500.0, 600.0))
    solo = np.zeros_like(chord)
    solo[5 * RATE : 7 * RATE] = 2 * tone(1_700.0, 2.0)
    stems = decompose(chord + solo, RATE, CONFIG)
    assert share(stems["vocals"] - solo, solo) < 0.3
    assert share(stems["other"] - chord, chord) < 0.1


def test_drums_and_bass_of_real_music_are_found_better_than_in_the_mixture():
    pieces = [
        piece for piece in rows("music") if {"bass", "drums"} <= set(piece["stems"].split("|"))
    ]
    gains = []
    for piece in evenly(pieces, 3):
        mixture = music(piece)
        stems = decompose(mixture, RATE, CONFIG)
        for name in ("bass", "drums"):
            target = read_waveform(CORPUS / piece["piece"] / f"{name}.ogg")[: len(mixture)]
            before = si_sdr(torch.from_numpy(mixture), torch.from_numpy(target))
            after = si_sdr(torch.from_numpy(stems[name]), torch.from_numpy(target))
            gains.append(float(after - before))
    assert np.median(gains) > 3


def test_silence_and_silent_parts_are_no_trouble():
    silence = np.zeros(RATE * 3, np.float32)
    assert not any(stem.any() for stem in decompose(silence, RATE, CONFIG).values())
    half = np.concatenate([clicks(2.0), silence])
    assert all(np.isfinite(stem).all() for stem in decompose(half, RATE, CONFIG).values())


def test_padding_does_not_reach_the_stems():
    separator = Decomposition(CONFIG)
    mixture = torch.randn(1, 1, 20_000) * 0.1
    padded = torch.nn.functional.pad(mixture, (0, 30_000))
    found = separator.separate(padded, torch.tensor([20_000]))
    expected = separator.separate(mixture)
    for name in separator.names:
        assert torch.equal(found[name][:, :20_000], expected[name])
        assert not found[name][:, 20_000:].any()


def test_long_recordings_are_decomposed_in_windows_and_still_sum_up():
    separator = Decomposition(DecompositionConfig(window=5.0))
    assert isinstance(separator, Separator)
    mixture = (clicks(12.0) + tone(80.0, 12.0) + tone(900.0, 12.0)).astype(np.float32)
    first, second = separate_recordings(separator, [mixture, mixture])
    total = np.sum(list(first.values()), axis=0)
    np.testing.assert_allclose(total, mixture, atol=1e-6)
    assert share(first["bass"], tone(80.0, 12.0)) > 0.8
    for name in separator.names:
        np.testing.assert_array_equal(first[name], second[name])


def test_stems_are_the_same_bits_on_any_number_of_threads():
    mixture = (corpora.tone(1.0, 200) + corpora.tone(1.0, 2000, level=0.2)).astype(np.float32)[None]
    stems = []
    for threads in (1, 2):
        with threadpool_limits(threads, "blas"):
            stems += separate_recordings(Decomposition(DecompositionConfig()), [mixture])
    for name, stem in stems[0].items():
        np.testing.assert_array_equal(stem, stems[1][name])


def test_identity_knows_every_setting():
    assert Decomposition(CONFIG).identity == Decomposition(DecompositionConfig()).identity
    other = Decomposition(DecompositionConfig(bass_edge=200.0))
    assert other.identity != Decomposition(CONFIG).identity


@pytest.mark.parametrize("wrong", [{"overlap": 1.0}, {"window": 3.0}])
def test_senseless_settings_are_refused(wrong):
    with pytest.raises(UserError, match="expected an overlap below 1"):
        Decomposition(DecompositionConfig(**wrong))


@pytest.mark.parametrize("num_samples", [2_500, 3_000, 30_000, 200_000])
def test_stems_are_those_of_librosa_to_the_last_bit(num_samples):
    noise = np.random.default_rng(0).standard_normal(num_samples).astype(np.float32)
    pulse = 1 + np.sin(2 * np.pi * np.arange(num_samples) / 5_000).astype(np.float32)
    mixture = pulse * noise + (tone(500.0, 13.0) + tone(90.0, 13.0))[:num_samples]
    expected = librosas_stems(mixture, RATE, CONFIG)
    for name, stem in decompose(mixture, RATE, CONFIG).items():
        np.testing.assert_array_equal(stem, expected[name])
