"""The nearest entry of one codebook."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def nearest_entries(
    frames: Float[Tensor, "frames dim"], entries: Float[Tensor, "size dim"]
) -> Int64[Tensor, " frames"]:
    """Find, for each frame, the entry at the smallest Euclidean distance.

    By one matrix product: ‖x - c‖² = ‖x‖² - 2⟨x, c⟩ + ‖c‖², where ‖x‖² is the same for all entries.
    """
    half_norms = 0.5 * entries.square().sum(dim=1)
    return torch.addmm(half_norms, frames, entries.T, alpha=-1).argmin(dim=1)
