"""Normalization of log-mel images over time, a band of a clip at a time.

Sources: mean and variance as cepstral normalization has them; per-channel energy normalization of
Wang et al., "Trainable frontend for robust and far-field keyword spotting" (ICASSP 2017), with its
constants, and the smoothing begun at the first frame.
"""

from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor
from torchaudio.functional import lfilter

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
        >>> import torch
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
    deviation = masked_mean(centered.square(), lengths).sqrt().clamp(min=DEVIATION)
    return centered / deviation[:, None]


def pcen(
    magnitudes: Float[Tensor, "batch frames bands"],
) -> Float[Tensor, "batch frames bands"]:
    """Compute (E / (floor + M)^gain + bias)^power - bias^power, M the smoothed magnitude.

    M(t) = (1 - s) M(t-1) + s E(t) with M(0) = E(0): a frame depends on earlier ones alone.

    Example:
        >>> import torch
        >>> steady = pcen(torch.ones(1, 3, 1))
        >>> bool(((steady - (3**0.5 - 2**0.5)).abs() < 1e-5).all())
        True

    Args:
        magnitudes: Nonnegative energies or magnitudes of bands.
    """
    if magnitudes.shape[1] == 0:
        return magnitudes
    energies = magnitudes.transpose(1, 2)
    # The filter passes what is constant: it smooths the distance from the first frame.
    first = energies[..., :1]
    smoothing = energies.new_tensor([1.0, SMOOTHING - 1.0]), energies.new_tensor([SMOOTHING, 0.0])
    smooth = first + lfilter(energies - first, *smoothing, clamp=False)
    gained = energies * (FLOOR + smooth.clamp(min=0.0)).pow(-GAIN)
    return ((gained + BIAS).pow(POWER) - BIAS**POWER).transpose(1, 2)
