"""Batch normalization whose statistics are those of the whole batch, on however many ranks.

One process uses torch's own. Several add up counts, sums and sums of squares, with gradients, so
that two processes with half a batch each compute what one process computes with the whole.
torch.nn.SyncBatchNorm does the same and refuses to run on a CPU.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from audiossl import distributed


class BatchNorm2d(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` over the batches of all ranks."""

    def forward(
        self, input: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Normalize each channel."""
        if not self.training or distributed.world_size() == 1:
            return super().forward(input)
        return self._normalize_over_ranks(input)

    def _normalize_over_ranks(self, values: Tensor) -> Tensor:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        # The moments are taken around the running mean: squares of large means would cancel.
        shift = self.running_mean[:, None, None]
        centered = values - shift
        axes = (0, 2, 3)
        sums = torch.stack([centered.sum(axes), centered.square().sum(axes)])
        count = values.numel() / values.shape[1] * distributed.world_size()
        mean, square = distributed.total(sums) / count
        variance = square - mean.square()
        with torch.no_grad():
            unbiased = variance * count / (count - 1)
            self.running_mean.lerp_(self.running_mean + mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
            self.num_batches_tracked.add_(1)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centered - mean[:, None, None]) * scale[:, None, None] + self.bias[:, None, None]


class FrameNorm(nn.Module):
    """Batch norm of frames that leaves padding out: mean 0 and variance 1 a dimension, no scale.

    In training over the valid frames of all ranks, in evaluation with running averages.

    Example:
        >>> norm, valid = FrameNorm(1), torch.tensor([[True, True, False]])
        >>> norm(torch.tensor([[[2.0], [4.0], [99.0]]]), valid)[0, :2, 0]
        tensor([-1.0000,  1.0000])
    """

    running_mean: Float[Tensor, " dim"]
    running_variance: Float[Tensor, " dim"]

    def __init__(self, dim: int, *, momentum: float = 0.1, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.epsilon = momentum, epsilon
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_variance", torch.ones(dim))

    def forward(
        self, frames: Float[Tensor, "batch frames dim"], valid: Bool[Tensor, "batch frames"]
    ) -> Float[Tensor, "batch frames dim"]:
        """Normalize frames; zeros stand where they are padding."""
        masked = frames.masked_fill(~valid[..., None], 0.0)
        mean, variance = self.running_mean, self.running_variance
        if self.training:
            mean, variance = self._moments(masked, valid)
        normalized = (masked - mean) * (variance + self.epsilon).rsqrt()
        return normalized.masked_fill(~valid[..., None], 0.0)

    def _moments(self, masked: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        # Around the running mean: squares of large means would cancel.
        centered = (masked - self.running_mean).masked_fill(~valid[..., None], 0.0)
        sums = torch.stack([centered.sum((0, 1)), centered.square().sum((0, 1))])
        count = distributed.total(valid.sum().to(sums)).clamp(min=1.0)
        mean, square = distributed.total(sums) / count
        variance = (square - mean.square()).clamp(min=0.0)
        mean = mean + self.running_mean
        if torch.is_grad_enabled():
            with torch.no_grad():
                unbiased = variance * count / (count - 1).clamp(min=1.0)
                self.running_mean.lerp_(mean, self.momentum)
                self.running_variance.lerp_(unbiased, self.momentum)
        return mean, variance
