"""Arithmetic of mixing: power, gain by signal-to-noise ratio, placing one sound inside another."""

import torch
from jaxtyping import Float, Int
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
        main: Powers of what is heard.
        other: Powers of what is added; silence is left as it is.
        snr: Signal-to-noise ratio, dB.
    """
    gain = (main / (other * 10 ** (snr / 10)).clamp(min=1e-20)).sqrt()
    return torch.where(other > 0, gain, torch.zeros_like(gain))


def delayed(
    waveforms: Float[Tensor, "batch samples"], delays: Int[Tensor, " batch"]
) -> Float[Tensor, "batch samples"]:
    """Move each waveform later by its own number of samples; what leaves the end is lost."""
    places = torch.arange(waveforms.shape[1], device=waveforms.device) - delays[:, None]
    moved = waveforms.gather(1, places.clamp(min=0))
    return moved.masked_fill(places < 0, 0.0)
