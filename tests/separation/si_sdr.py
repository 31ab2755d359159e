"""How good an estimated stem is."""

import torch
from jaxtyping import Float
from torch import Tensor


def si_sdr(
    estimates: Float[Tensor, "*batch samples"],
    targets: Float[Tensor, "*batch samples"],
    *,
    epsilon: float = 1e-12,
) -> Float[Tensor, "*batch"]:
    """Compute the scale-invariant signal-to-distortion ratio, in dB.

    Of Le Roux, Wisdom, Erdogan and Hershey, "SDR - half-baked or well done?" (2019): the energy of
    the part of the estimate that is the target, scaled, over the energy of the rest. Both signals
    are taken without their means.
    """
    estimates = estimates - estimates.mean(dim=-1, keepdim=True)
    targets = targets - targets.mean(dim=-1, keepdim=True)
    energy = targets.square().sum(dim=-1, keepdim=True) + epsilon
    explained = (estimates * targets).sum(dim=-1, keepdim=True) / energy * targets
    rest = estimates - explained
    ratio = (explained.square().sum(dim=-1) + epsilon) / (rest.square().sum(dim=-1) + epsilon)
    return 10 * torch.log10(ratio)
