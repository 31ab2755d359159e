"""The nearest entry of one codebook."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def nearest_entries(
    frames: Float[Tensor, "frames dim"], entries: Float[Tensor, "size dim"]
) -> Int64[Tensor, " frames"]:
    """Find, for each frame, the entry at the smallest Euclidean distance.

    By one matrix product: ‖x - c‖² = ‖x‖² - 2⟨x, c⟩ + ‖c‖², where ‖x‖² is the same for all entries.

    Example:
        >>> nearest_entries(torch.tensor([[1.0], [9.0]]), torch.tensor([[0.0], [10.0]]))
        tensor([0, 1])
    """
    frames, entries = around_mean(frames, entries)
    half_norms = 0.5 * entries.square().sum(dim=1)
    return torch.addmm(half_norms, frames, entries.T, alpha=-1).argmin(dim=1)


def around_mean(
    frames: Float[Tensor, "frames dim"], entries: Float[Tensor, "size dim"]
) -> tuple[Float[Tensor, "frames dim"], Float[Tensor, "size dim"]]:
    """Move both by the mean of the entries, which leaves all their distances as they are.

    Far from zero the products of the distances' expansion are so large that their difference is
    lost in float32: one dimension of 768 at 15 000, as in large speech models, is enough.
    """
    mean = entries.detach().mean(dim=0)
    return frames - mean, entries - mean
