"""Mean and deviation over frames, weighted by learned attention.

Source: Okabe, Koshinaka and Shinoda, "Attentive Statistics Pooling for Deep Speaker Embedding"
(Interspeech 2018), equations 2 to 6.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from audiossl.nn.lengths import valid_mask

FLOOR = 1e-6
"""Least variance, whose root has a gradient."""


class AttentiveStatistics(nn.Module):
    """Frames of a sequence to one vector of twice their size.

    Example:
        >>> pool = AttentiveStatistics(dim=3, hidden_dim=2)
        >>> pool(torch.randn(2, 5, 3), torch.tensor([5, 1])).shape
        torch.Size([2, 6])

    Args:
        dim: Dimension of a frame.
        hidden_dim: Dimension in which attention is computed.
    """

    def __init__(self, dim: int, hidden_dim: int = 64) -> None:
        super().__init__()
        self.scores = nn.Sequential(
            nn.Linear(dim, hidden_dim), nn.Tanh(), nn.Linear(hidden_dim, 1, bias=False)
        )

    def forward(
        self, frames: Float[Tensor, "batch frames dim"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch two_dims"]:
        """Pool the valid frames; a sequence without any gives zeros, and the least deviation."""
        valid = valid_mask(lengths, frames.shape[1])[..., None]
        frames = frames.masked_fill(~valid, 0.0)
        scores = self.scores(frames).masked_fill(~valid, torch.finfo(frames.dtype).min)
        weights = scores.softmax(dim=1).masked_fill(~valid, 0.0)
        mean = (weights * frames).sum(dim=1)
        variance = (weights * (frames - mean[:, None]).square()).sum(dim=1)
        return torch.cat([mean, variance.clamp(min=FLOOR).sqrt()], dim=1)
