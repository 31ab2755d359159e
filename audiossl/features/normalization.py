"""Normalization of log-mel images over time, a band of a clip at a time.

Sources: mean and variance as cepstral normalization has them; per-channel energy normalization of
Wang et al., "Trainable frontend for robust and far-field keyword spotting" (ICASSP 2017), with its
constants, and the smoothing begun at the first frame.
"""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from audiossl.nn.pooling import masked_mean

Normalization = Literal["none", "mean", "mean_std", "pcen"]
SMOOTHING, GAIN, BIAS, POWER, FLOOR = 0.025, 0.98, 2.0, 0.5, 1e-6
DEVIATION = 1e-3
"""Least standard deviation that is divided by: a band that is silent stays near zero."""


def normalized(
    log_mel: Float[Tensor, "batch frames bands"],
    lengths: Int[Tensor, " batch"],
    kind: Normalization,
) -> Float[Tensor, "batch frames bands"]:
    """Normalize each band of each clip over its valid frames; what lies behind them is arbitrary.

    Example:
        >>> image = torch.tensor([[[1.0], [3.0], [9.0]]])
        >>> normalized(image, torch.tensor([2]), "mean")[0, :2, 0]
        tensor([-1.,  1.])

    Args:
        log_mel: Natural logarithms of band magnitudes.
        lengths: Number of valid frames of each clip.
        kind: mean: subtract the mean; mean_std: and divide by the standard deviation; pcen: divide
            magnitudes by their smoothed past, and compress by a power instead of the logarithm.
    """
    if kind == "none":
        return log_mel
    if kind == "pcen":
        return pcen(log_mel.exp())
    centered = log_mel - masked_mean(log_mel, lengths)[:, None]
    if kind == "mean":
        return centered
    # The root of 0 has no gradient: the floor is the variance's.
    variance = masked_mean(centered.square(), lengths).clamp(min=DEVIATION**2)
    return centered / variance.sqrt()[:, None]


def pcen(
    magnitudes: Float[Tensor, "batch frames bands"],
) -> Float[Tensor, "batch frames bands"]:
    """Compute (E / (floor + M)^gain + bias)^power - bias^power, M the smoothed magnitude.

    M(t) = (1 - s) M(t-1) + s E(t) with M(0) = E(0): a frame depends on earlier ones alone.

    Example:
        >>> steady = pcen(torch.ones(1, 3, 1))
        >>> bool(((steady - (3**0.5 - 2**0.5)).abs() < 1e-5).all())
        True

    Args:
        magnitudes: Nonnegative energies or magnitudes of bands.
    """
    smooth = _smoothing(magnitudes.shape[1], magnitudes.device).to(magnitudes.dtype) @ magnitudes
    gained = magnitudes * (FLOOR + smooth).pow(-GAIN)
    return (gained + BIAS).pow(POWER) - BIAS**POWER


def _smoothing(frames: int, device: torch.device) -> Float[Tensor, "frames frames"]:
    """Build the weights of each frame's past: one product is exact, exported and fast anywhere."""
    times = torch.arange(frames, device=device)
    ages = times[:, None] - times
    weights = SMOOTHING * (1 - SMOOTHING) ** ages.clamp(min=0)
    # All that lies before the first frame is taken to be like it.
    weights = torch.where(times == 0, weights / SMOOTHING, weights)
    return weights.masked_fill(ages < 0, 0.0)
