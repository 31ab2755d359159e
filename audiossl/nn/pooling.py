"""From frames to one vector: statistics over the frames a sequence has, leaving out its padding."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from audiossl.nn.lengths import valid_mask

Pool = Callable[[Tensor, Tensor], Tensor]


def masked_mean(
    frames: Float[Tensor, "batch frames dim"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "batch dim"]:
    """Average each sequence over its frames; an empty sequence gives zeros.

    Example:
        >>> masked_mean(torch.tensor([[[1.0], [3.0], [99.0]]]), torch.tensor([2]))
        tensor([[2.]])
    """
    valid = valid_mask(lengths, frames.shape[1])
    # Padding may hold anything, infinities too: it is replaced, not multiplied by zero.
    masked = frames.masked_fill(~valid[..., None], 0.0)
    return masked.sum(dim=1) / lengths.clamp(min=1)[:, None]


def masked_max(
    frames: Float[Tensor, "batch frames dim"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "batch dim"]:
    """Take the largest value of each dimension over a sequence's frames; empty gives zeros."""
    valid = valid_mask(lengths, frames.shape[1])
    largest = frames.masked_fill(~valid[..., None], float("-inf")).amax(dim=1)
    return largest.masked_fill(lengths[:, None] == 0, 0.0)


def masked_mean_std(
    frames: Float[Tensor, "batch frames dim"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "batch two_dims"]:
    """Concatenate the mean and the (biased) standard deviation over a sequence's frames."""
    mean = masked_mean(frames, lengths)
    variance = masked_mean((frames - mean[:, None]).square(), lengths)
    # At zero the root has no gradient.
    varies = variance > 0
    deviation = torch.where(varies, variance, 1.0).sqrt() * varies
    return torch.cat([mean, deviation], dim=1)


POOLS: dict[str, Pool] = {"mean": masked_mean, "max": masked_max, "mean_std": masked_mean_std}
"""Statistics over time by the names that settings have for them."""
