"""Arithmetic of mixing: power, gain by signal-to-noise ratio, placing one sound inside another."""

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor


def mean_power(
    waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Average the squares of each waveform's valid samples; padding is zero."""
    return waveforms.square().sum(dim=1) / lengths.clamp(min=1)


def gain_for(
    main: Float[Tensor, " batch"], other: Float[Tensor, " batch"], snr: Float[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Amplitude by which `other` is multiplied so that `main` is `snr` dB above it.

    Args:
        main: Powers of the main signals.
        other: Powers of what is added; silence is left as it is.
        snr: Signal-to-noise ratio, dB.
    """
    gain = (main / (other * 10 ** (snr / 10)).clamp(min=1e-20)).sqrt()
    return torch.where(other > 0, gain, torch.zeros_like(gain))


def power_share(
    main: Float[Tensor, " batch"], other: Float[Tensor, " batch"], gain: Float[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Share of a mixture's power that is the other sound's, once amplified: 0 in silence."""
    added = gain.square() * other
    return added / (main + added).clamp(min=1e-20)


def placed(
    rows: Shaped[Tensor, "batch length *values"],
    begins: Int[Tensor, " batch"],
    counts: Int[Tensor, " batch"],
    places: Int[Tensor, " batch"],
    *,
    size: int,
    fill: int = 0,
) -> Shaped[Tensor, "batch size *values"]:
    """Cut a piece out of each row and put it somewhere else; all around it stands `fill`.

    Args:
        rows: Waveforms, or codes.
        begins: First position of each piece.
        counts: Positions of each piece.
        places: Where each piece begins in the result; what goes beyond its end is lost.
        size: Positions of the result.
        fill: Stands where there is no piece.
    """
    within = torch.arange(size, device=rows.device) - places[:, None]
    inside = (within >= 0) & (within < counts[:, None])
    index = (begins[:, None] + within).clamp(0, rows.shape[1] - 1)
    shape = (*index.shape, *[1] * (rows.ndim - 2))
    moved = rows.gather(1, index.view(shape).expand(-1, -1, *rows.shape[2:]))
    return moved.masked_fill(~inside.view(shape), fill)
