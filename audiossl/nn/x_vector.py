"""X-vectors: frames with growing context, their statistics over time, and a vector of the speaker.

Source: Snyder, Garcia-Romero, Sell, Povey, Khudanpur, "X-Vectors: Robust DNN Embeddings for Speaker
Recognition" (2018), in the sizes of SUPERB's speaker verification (s3prl, sv_voxceleb1): a linear
layer on the frames, five time-delay layers with ReLU and without batch norm, mean and standard
deviation. Differences: deviations are divided by the number of frames and not by one less, and
padding never counts (s3prl averages over one padded frame).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from audiossl.configs import Count
from audiossl.nn.pooling import masked_mean

CONTEXTS = ((5, 1), (3, 2), (3, 3), (1, 1), (1, 1))
"""Frames that each layer sees, and the distance between them."""
LOST = sum((size - 1) * apart for size, apart in CONTEXTS)
"""Frames that a sequence loses at its ends: 14."""
_LEAST_VARIANCE = 1e-10


@dataclass(frozen=True, kw_only=True)
class XVectorConfig:
    """Sizes of an x-vector network."""

    width: Count = 512
    """Dimension of the projected frames, of the layers behind them, and of the vectors."""
    pooled: Count = 1500
    """Dimension of the frames whose statistics are taken."""


class XVector(nn.Module):
    """Frames to a vector of the speaker.

    Example:
        >>> network = XVector(8, XVectorConfig(width=4, pooled=6))
        >>> network(torch.randn(2, 20, 8), torch.tensor([20, 3])).shape
        torch.Size([2, 4])
    """

    def __init__(self, dim: int, config: XVectorConfig) -> None:
        super().__init__()
        width = config.width
        self.projection = nn.Linear(dim, width)
        sizes = [width] * (len(CONTEXTS) - 1) + [config.pooled]
        self.layers = nn.ModuleList(
            nn.Conv1d(width, out, size, dilation=apart)
            for out, (size, apart) in zip(sizes, CONTEXTS, strict=True)
        )
        self.vector = nn.Linear(2 * config.pooled, width)

    def forward(
        self, frames: Float[Tensor, "batch frames dim"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch width"]:
        """Compute vectors; sequences of less than 15 frames are padded with zeros."""
        short = max(0, LOST + 1 - frames.shape[1])
        channels = F.pad(self.projection(frames).mT, (0, short))
        for layer in self.layers:
            channels = F.relu(layer(channels))
        return F.relu(self.vector(_statistics(channels.mT, (lengths - LOST).clamp(min=1))))


def _statistics(
    frames: Float[Tensor, "batch frames dim"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "batch two_dims"]:
    """Concatenate mean and standard deviation, which has a gradient where nothing varies, too."""
    mean = masked_mean(frames, lengths)
    variance = masked_mean((frames - mean[:, None]).square(), lengths)
    return torch.cat([mean, variance.clamp(min=_LEAST_VARIANCE).sqrt()], dim=1)
