"""How frames change over time, estimated from their neighbors, within each row of a batch."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def neighbor(
    rows: Float[Tensor, "batch frames values"], num_frames: Int[Tensor, " batch"], by: int
) -> Float[Tensor, "batch frames values"]:
    """Put in the place of each frame the one `by` later; the first and the last are repeated."""
    places = torch.arange(rows.shape[1], device=rows.device)
    last = (num_frames - 1).clamp(min=0)[:, None]
    at = torch.minimum((places + by).clamp(min=0)[None], last)
    return rows.gather(1, at[..., None].expand(rows.shape))


def slopes(
    rows: Float[Tensor, "batch frames values"], num_frames: Int[Tensor, " batch"], reach: int
) -> Float[Tensor, "batch frames values"]:
    """Fit a line through each frame and `reach` neighbors to each side."""
    steps = range(1, reach + 1)
    rises = [
        by * (neighbor(rows, num_frames, by) - neighbor(rows, num_frames, -by)) for by in steps
    ]
    return torch.stack(rises).sum(dim=0) / (2 * sum(by * by for by in steps))
