import tracemalloc
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from audiossl.errors import UserError
from audiossl.separation.recordings import separate_in_pieces, separate_recordings


@dataclass
class Halves:
    """Gives a third of the mixture to one stem and the rest to the other; counts its work."""

    sample_rate: int = 16_000
    num_channels: int = 1
    window: int = 8_000
    overlap: float = 0.25
    standardizes: bool = False
    names: tuple[str, ...] = ("first", "second")
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    identity: dict[str, str] = field(default_factory=dict)
    windows: int = 0
    batches: int = 0

    def separate(self, mixtures, lengths=None):
        assert mixtures.shape[1] == self.num_channels
        assert mixtures.shape[2] <= self.window
        self.windows += len(mixtures)
        self.batches += 1
        self.lengths = lengths.tolist()
        mono = mixtures.mean(dim=1)
        return {"second": mono * 2 / 3, "first": mono / 3}


class Shifted(Halves):
    """A separator whose stems depend on where in a window a sample is."""

    def separate(self, mixtures, lengths=None):
        ramp = torch.linspace(0.5, 1.5, mixtures.shape[-1])
        return {name: stem * ramp for name, stem in super().separate(mixtures, lengths).items()}


def recording(num_samples, channels=None, seed=0):
    shape = (num_samples,) if channels is None else (channels, num_samples)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32) * 0.1


def tone(num_samples, sample_rate, frequency=1_000.0):
    time = np.arange(num_samples) / sample_rate
    return (0.5 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


@pytest.mark.parametrize("num_samples", [1, 159, 8_000, 8_001, 50_003])
@pytest.mark.parametrize("standardizes", [False, True])
def test_stems_are_as_long_and_as_loud_as_in_the_mixture(num_samples, standardizes):
    mixture = recording(num_samples)
    mixture -= mixture.mean()
    (stems,) = separate_recordings(Halves(standardizes=standardizes), [mixture])
    assert list(stems) == ["first", "second"]
    np.testing.assert_allclose(stems["first"], mixture / 3, atol=1e-6)
    np.testing.assert_allclose(stems["first"] + stems["second"], mixture, atol=1e-6)


def test_silence_gives_exact_silence():
    for standardizes in (False, True):
        (stems,) = separate_recordings(Halves(standardizes=standardizes), [np.zeros(9_000, "f4")])
        assert not stems["first"].any()


def test_a_separator_that_standardizes_sees_mean_zero_and_deviation_one():
    class Spy(Halves):
        def separate(self, mixtures, lengths=None):
            self.seen = mixtures
            return super().separate(mixtures, lengths)

    spy = Spy(standardizes=True)
    (stems,) = separate_recordings(spy, [recording(8_000) * 3 + 0.7])
    assert abs(float(spy.seen.mean())) < 1e-5
    assert float(spy.seen.std()) == pytest.approx(1, abs=1e-5)
    assert float(stems["first"].std()) == pytest.approx(0.1, rel=0.02)


@pytest.mark.parametrize("kind", [Halves, Shifted])
def test_a_recording_does_not_depend_on_its_neighbors(kind):
    mixtures = [recording(n, seed=n) for n in (500, 20_000, 8_000, 33_333)]
    together = list(separate_recordings(kind(), mixtures, batch_size=3))
    for mixture, expected in zip(mixtures, together, strict=True):
        (alone,) = separate_recordings(kind(), [mixture], batch_size=1)
        for name in alone:
            np.testing.assert_allclose(alone[name], expected[name], atol=1e-6)


def test_windows_of_many_recordings_share_batches():
    separator = Halves()
    list(separate_recordings(separator, [recording(4_000)] * 10, batch_size=5))
    assert (separator.windows, separator.batches) == (10, 2)
    assert separator.lengths == [4_000] * 5


def test_recordings_are_taken_one_at_a_time():
    taken = []

    def recordings():
        for index in range(10):
            taken.append(index)
            yield recording(8_000)

    stream = separate_recordings(Halves(), recordings(), batch_size=2)
    next(stream)
    assert taken == [0, 1]


def test_pieces_join_to_the_whole_and_memory_stays_small():
    mixture = recording(1_600_000)
    (whole,) = separate_recordings(Shifted(), [mixture], batch_size=4)
    tracemalloc.start()
    count = 0
    for piece in separate_in_pieces(Shifted(), iter([mixture]), batch_size=4):
        size = len(piece.stems["first"])
        for name, stem in piece.stems.items():
            np.testing.assert_array_equal(stem, whole[name][count : count + size])
        count += size
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert piece.last
    assert count == len(mixture)
    assert peak < 20e6


@pytest.mark.parametrize(("sample_rate", "channels"), [(16_000, None), (44_100, 2), (22_050, 1)])
def test_rates_and_channels_are_brought_to_the_separator_and_back(sample_rate, channels):
    separator = Halves(sample_rate=44_100, num_channels=2, window=22_050)
    mono = tone(2 * sample_rate, sample_rate)
    mixture = mono if channels is None else np.stack([mono] * channels)
    (stems,) = separate_recordings(separator, [mixture], sample_rate=sample_rate)
    expected = tone(32_000, 16_000) / 3
    np.testing.assert_allclose(stems["first"][400:-400], expected[400:-400], atol=2e-3)
    assert stems["first"].shape == (32_000,)


def test_seams_vanish_after_resampling():
    separator = Halves(sample_rate=44_100, num_channels=2, window=22_050)
    mixture = tone(100_000, 16_000, frequency=3_333.0)
    (stems,) = separate_recordings(separator, [mixture])
    error = stems["first"] * 3 - mixture
    assert np.abs(error[300:-300]).max() < 2e-3


def test_what_cannot_be_separated_is_said():
    with pytest.raises(UserError, match="recording 1 is empty"):
        list(separate_recordings(Halves(), [recording(10), recording(0)]))
    with pytest.raises(UserError, match="read them with sample_rate=44100"):
        next(separate_recordings(Halves(sample_rate=44_100), [recording(10)], sample_rate=44_099))
