"""Lapped transforms that keep energy: MDCT (a basis), and a tight STFT (a frame).

The squares of all coefficients of a signal add up to those of its samples, whatever the signal, so
that neither loses anything of it. The MDCT has as many coefficients as samples, all real; the STFT
has, with a window of four hops, four times as many.

    MDCT  sqrt(2/H) sum_n w(n) x(n) cos(pi/H (n + 1/2 + H/2) (k + 1/2)), w(n)^2 + w(n + H)^2 = 1
    STFT  orthonormal DFT of w(n) x(n), sum_m w(n - m H)^2 = 1

Frames begin before the signal and end behind it, as many as have a sample of it.

Sources: Princen, Johnson, Bradley (1987) for the MDCT, with the sine window; Daubechies,
Grossmann, Meyer, "Painless nonorthogonal expansions" (1986) for tight frames.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

MDCT_OVERLAP, STFT_OVERLAP = 2, 4
"""Hops in a window."""


def mdct(
    waveforms: Float[Tensor, "*batch samples"], hop: int
) -> Float[Tensor, "*batch frames hop"]:
    """Compute the orthonormal MDCT, of ceil(samples / hop) + 1 frames.

    Example:
        >>> waves = torch.randn(1, 1000)
        >>> bool(torch.isclose(mdct(waves, 100).square().sum(), waves.square().sum()))
        True
    """
    return lapped(waveforms, hop, MDCT_OVERLAP) @ mdct_basis(hop).to(waveforms)


def tight_stft(
    waveforms: Float[Tensor, "*batch samples"], hop: int
) -> Float[Tensor, "*batch frames bins"]:
    """Compute magnitudes of a tight STFT, of ceil(samples / hop) + 3 frames and 2 hop + 1 bins.

    Bins other than the first and the last stand for two of the transform, and are multiplied by
    the root of 2, so that squares add up to the energy.

    Example:
        >>> waves = torch.randn(1, 1000)
        >>> bool(torch.isclose(tight_stft(waves, 100).square().sum(), waves.square().sum()))
        True
    """
    frames = lapped(waveforms, hop, STFT_OVERLAP) * tight_window(hop).to(waveforms)
    spectra = torch.fft.rfft(frames, norm="ortho").abs()
    weights = torch.full_like(spectra[..., :1, :], math.sqrt(2.0))
    weights[..., [0, -1]] = 1.0
    return spectra * weights


def lapped(
    waveforms: Float[Tensor, "*batch samples"], hop: int, overlap: int
) -> Float[Tensor, "*batch frames window"]:
    """Cut windows of `overlap` hops, all that have a sample of the waveform."""
    behind = -waveforms.shape[-1] % hop + (overlap - 1) * hop
    padded = F.pad(waveforms, ((overlap - 1) * hop, behind))
    return padded.unfold(-1, overlap * hop, hop)


def num_frames(lengths: Int[Tensor, "*batch"], hop: int, overlap: int) -> Int[Tensor, "*batch"]:
    """Count the windows that have a sample of each waveform; none of one without any."""
    counts = (lengths + hop - 1).div(hop, rounding_mode="floor") + overlap - 1
    return counts.masked_fill(lengths == 0, 0)


def mdct_basis(hop: int) -> Float[Tensor, "window hop"]:
    """Cosines under the sine window, in double precision."""
    samples = torch.arange(2 * hop, dtype=torch.float64)
    window = (math.pi / (2 * hop) * (samples + 0.5)).sin()
    places, bins = samples + 0.5 + hop / 2, torch.arange(hop, dtype=torch.float64) + 0.5
    return math.sqrt(2.0 / hop) * window[:, None] * (math.pi / hop * places[:, None] * bins).cos()


def tight_window(hop: int) -> Float[Tensor, " window"]:
    """Gauss's window of four hops, divided so that squares of its shifts by hops add up to 1."""
    places = (torch.arange(STFT_OVERLAP * hop, dtype=torch.float64) + 0.5) / hop
    window = (-math.pi / 4 * (places - STFT_OVERLAP / 2).square()).exp()
    return window / window.view(STFT_OVERLAP, hop).square().sum(dim=0).sqrt().repeat(STFT_OVERLAP)
