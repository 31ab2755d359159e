import math

import pytest
import torch
from torch.testing import assert_close

from audiossl.features.lapped import (
    lapped,
    mdct,
    mdct_basis,
    num_frames,
    tight_stft,
    tight_window,
)

HOPS, SIZES = (8, 20, 160), (1, 7, 160, 999, 16000)


@pytest.mark.parametrize("hop", HOPS)
@pytest.mark.parametrize("samples", SIZES)
@pytest.mark.parametrize("transform", [mdct, tight_stft])
def test_energy_is_kept_whatever_the_signal(transform, hop, samples):
    for scale in (1e-3, 1.0):
        waveform = scale * torch.randn(2, samples)
        energy = transform(waveform, hop).square().sum(dim=(1, 2))
        assert_close(energy, waveform.square().sum(dim=1), rtol=1e-5, atol=0)


@pytest.mark.parametrize("hop", HOPS)
def test_the_mdct_is_an_orthonormal_basis_whose_transpose_brings_the_signal_back(hop):
    waveform = torch.randn(5 * hop + 3, dtype=torch.float64)
    frames = mdct(waveform, hop) @ mdct_basis(hop).T
    back = torch.zeros((len(frames) + 1) * hop, dtype=torch.float64)
    for number, frame in enumerate(frames):
        back[number * hop : (number + 2) * hop] += frame
    assert_close(back[hop : hop + len(waveform)], waveform)
    # As many vectors as samples, without the two half frames at the ends.
    inner = mdct(torch.eye(6 * hop, dtype=torch.float64), hop).flatten(1)
    assert_close(inner @ inner.T, torch.eye(6 * hop, dtype=torch.float64), atol=1e-12, rtol=0)


def test_it_is_the_formula():
    hop, waveform = 4, torch.randn(8, dtype=torch.float64)
    expected = torch.zeros(3, 4, dtype=torch.float64)
    for m in range(3):
        for k in range(hop):
            for n in range(2 * hop):
                place = (m - 1) * hop + n
                if 0 <= place < 8:
                    window = math.sin(math.pi / (2 * hop) * (n + 0.5))
                    turn = math.cos(math.pi / hop * (n + 0.5 + hop / 2) * (k + 0.5))
                    expected[m, k] += math.sqrt(2 / hop) * window * waveform[place] * turn
    assert_close(mdct(waveform, hop), expected)


def test_squares_of_shifted_windows_add_up_to_one():
    window = tight_window(10)
    assert_close(window.view(4, 10).square().sum(dim=0), torch.ones(10, dtype=torch.float64))
    assert_close(window, window.flip(0))
    assert window.argmax() in (19, 20)


@pytest.mark.parametrize("samples", [0, 1, 9, 10, 11, 100])
@pytest.mark.parametrize("overlap", [1, 2, 4])
def test_frames_are_counted(samples, overlap):
    frames = len(lapped(torch.zeros(samples), 10, overlap)) if samples else 0
    assert num_frames(torch.tensor(samples), 10, overlap) == frames


def test_a_tone_is_where_it_should_be():
    hop, frequency = 160, 1000.0
    waveform = torch.sin(2 * math.pi * frequency * torch.arange(16000) / 16000)
    assert tight_stft(waveform, hop)[20:80].sum(dim=0).argmax() == frequency / 16000 * 4 * hop
    bins = mdct(waveform, hop)[20:80].square().sum(dim=0)
    assert bins.argmax() in (19, 20)  # bins are 50 Hz wide
