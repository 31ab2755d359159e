"""Contrast in time: a frame belongs to the frame of another view at the same time.

Source: the local loss of Chaitanya et al., "Contrastive Learning of Global and Local Features for
Medical Image Segmentation with Limited Annotations" (2020), carried over from regions of an image
to frames. Candidates are the frames of all ranks, scored in chunks.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from audiossl import distributed
from audiossl.losses.contrast import cross_entropy, log_negatives

NEVER = -1e9
"""Score of what is no candidate: finite, because sums over nothing have no gradient."""


def time_contrast(
    first: Float[Tensor, "batch frames dim"],
    second: Float[Tensor, "batch frames dim"],
    valid: Bool[Tensor, "batch frames"],
    groups: Int[Tensor, " batch"],
    *,
    guard: int = 2,
    temperature: float = 0.1,
) -> Float[Tensor, "batch frames"]:
    """Compute, of each valid frame of the first view, -log of its positive's share.

    Its positive is the frame of the second view at the same place; negatives are frames of the same
    clip at least `guard` places away, and all frames of clips of other groups.

    Args:
        first: Unit vectors of one view, aligned in time with the second.
        second: Unit vectors of the other view.
        valid: Frames that both views have.
        groups: Recording of each clip, numbered alike on all ranks.
        guard: Frames of the same clip that are nearer are no negatives.
        temperature: Divides the products.

    Returns:
        Zero where a frame is not valid.

    Example:
        >>> frames = torch.eye(4)[None]  # one clip, whose frames have nothing in common
        >>> there, clip = torch.ones(1, 4, dtype=torch.bool), torch.zeros(1, dtype=torch.long)
        >>> losses = time_contrast(frames, frames, there, clip, guard=1, temperature=0.5)
        >>> losses.exp()  # 1 + 3 exp(-2)
        tensor([[1.4060, 1.4060, 1.4060, 1.4060]])
    """
    size = first.shape[1]
    queries = first / temperature
    scores = queries @ second.mT
    places = torch.arange(size, device=first.device)
    near = (places[:, None] - places).abs() < max(guard, 1)
    own = scores.masked_fill(near | ~valid[:, None, :], NEVER).logsumexp(dim=2)
    others = log_negatives(
        queries.flatten(0, 1),
        distributed.gather(second)[distributed.gather(valid)],
        groups.repeat_interleave(size),
        distributed.gather(groups).repeat_interleave(size)[distributed.gather(valid).flatten()],
    )
    negatives = torch.logaddexp(own.flatten(), others)
    positives = scores.diagonal(dim1=1, dim2=2).flatten()
    return cross_entropy(positives, negatives).view_as(own).masked_fill(~valid, 0.0)
