"""Batch normalization whose statistics are those of the whole batch, on however many ranks.

One process uses torch's own. Several average their moments, and in the backward pass two sums, so
that two processes with half a batch each compute what one process computes with the whole.
torch.nn.SyncBatchNorm does the same and refuses to run on a CPU.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

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
        result, mean, variance = _OverRanks.apply(values, self.weight, self.bias, self.eps)
        with torch.no_grad():
            count = values.numel() / values.shape[1] * distributed.world_size()
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
            self.num_batches_tracked.add_(1)
        return result


class _OverRanks(torch.autograd.Function):
    """Between exchanges of a few numbers a channel, the kernels are those of one process."""

    @staticmethod
    def forward(
        ctx: Any,
        values: Float[Tensor, "batch channels height width"],
        weight: Float[Tensor, " channels"],
        bias: Float[Tensor, " channels"],
        epsilon: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        own = torch.native_batch_norm(values, weight, bias, None, None, True, 0.0, epsilon)
        # Variances within ranks and between them: of large means the squares would cancel.
        parts = distributed.gather(torch.stack([own[1], own[2].pow(-2) - epsilon])[None])
        means, variances = parts.unbind(dim=1)
        mean = means.mean(dim=0)
        variance = (variances + (means - mean).square()).mean(dim=0).clamp(min=0.0)
        result = F.batch_norm(values, mean, variance, weight, bias, eps=epsilon)
        ctx.save_for_backward(values, weight, mean, variance)
        ctx.epsilon = epsilon
        ctx.mark_non_differentiable(mean, variance)
        return result, mean, variance

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_moments: Tensor) -> tuple[Tensor | None, ...]:
        values, weight, mean, variance = ctx.saved_tensors
        _, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, values, weight, mean, variance, None, None, False, ctx.epsilon,
            [False, True, True],
        )  # fmt: skip
        means = distributed.mean(torch.stack([of_bias, of_weight]))
        means = means * (values.shape[1] / values.numel())
        scale = (variance + ctx.epsilon).rsqrt()
        # Of a whole batch, weight x scale x (gradient - its mean - normalized x mean of products).
        slope, mean, scale, means = (
            each[..., None, None] for each in (weight * scale, mean, scale, means)
        )
        of_values = (values - mean).mul_(-slope * scale * means[1])
        of_values.addcmul_(gradient, slope).sub_(slope * means[0])
        return of_values, of_weight, of_bias, None, None


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
