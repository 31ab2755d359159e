"""Contrast in time: a frame belongs to the frame of another view at the same time.

Source: the local loss of Chaitanya et al., "Contrastive Learning of Global and Local Features for
Medical Image Segmentation with Limited Annotations" (2020), carried over from regions of an image
to frames.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from audiossl.losses.contrast import cross_entropy


def time_contrast(
    first: Float[Tensor, "batch frames dim"],
    second: Float[Tensor, "batch frames dim"],
    valid: Bool[Tensor, "batch frames"],
    *,
    guard: int = 2,
    temperature: float = 0.1,
) -> Float[Tensor, "batch frames"]:
    """Compute, of each valid frame of the first view, -log of its positive's share.

    Its positive is the frame of the second view at the same place; negatives are frames of the same
    clip at least `guard` places away, and all frames of other clips.

    Args:
        first: Unit vectors of one view, aligned in time with the second.
        second: Unit vectors of the other view.
        valid: Frames that both views have.
        guard: Frames of the same clip that are nearer are no negatives.
        temperature: Divides the products.

    Returns:
        Zero where a frame is not valid.

    Example:
        >>> frames = torch.eye(4)[None]  # each frame is unlike all others
        >>> valid = torch.ones(1, 4, dtype=torch.bool)
        >>> bool(time_contrast(frames, frames, valid, guard=1).max() < 1e-3)
        True
    """
    batch, size, dim = first.shape
    scores = first.reshape(-1, dim) @ second.reshape(-1, dim).T / temperature
    places = torch.arange(size, device=first.device).repeat(batch)
    clips = torch.arange(batch, device=first.device).repeat_interleave(size)
    near = (places[:, None] - places).abs() < max(guard, 1)
    left_out = (clips[:, None] == clips) & near | ~valid.flatten()
    negatives = scores.masked_fill(left_out, float("-inf")).logsumexp(dim=1)
    losses = cross_entropy(scores.diagonal(), negatives)
    return losses.view(batch, size).masked_fill(~valid, 0.0)
