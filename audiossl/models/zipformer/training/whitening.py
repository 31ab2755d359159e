"""Whiten: a change of gradients that keeps the covariance of activations from degenerating.

The metric of a covariance C of c channels is (|C|² / c) / (trace(C) / c)²: 1 if it is white, c if
all channels are one. Where it exceeds its limit, a part of its own gradient is added.

Source: Zipformer (Yao et al., 2024), appendix, and its public implementation. There autograd
differentiates the metric; here its gradient, (x - mean) · (C - metric · mean variance · I) up to a
factor that the normalization removes, is written out.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from audiossl.models.zipformer.training.batched import Batch

TINY = 1e-20


def whiten(
    x: Float[Tensor, "*batch channels"],
    limit: Float[Tensor, ""],
    strength: Float[Tensor, ""],
    channels: slice = slice(None),
    groups: int = 1,
    *,
    batch: Batch | None = None,
) -> Float[Tensor, "*batch channels"]:
    """Return `x`, with a gradient that leads its covariance to be whiter, if that is due.

    Args:
        x: Activations, channels last.
        limit: Metric from on which the gradient is changed.
        strength: Norm of what is added, relative to the gradient.
        channels: Those that are whitened.
        groups: Number of groups of channels, each with a covariance of its own.
        batch: Of `shifts`, where those of all Whiteners are computed together.

    Example:
        >>> x = (torch.randn(80, 1) + 0.1 * torch.randn(80, 2)).requires_grad_()  # nearly one
        >>> whiten(x, torch.tensor(1.5), torch.tensor(0.1))[:, 0].sum().backward()
        >>> x.grad[:, 1].any()
        tensor(True)
    """
    if batch is not None:
        return _BatchedWhiten.apply(x, limit, strength, (channels, groups, batch))
    return _Whiten.apply(x, limit, strength, channels, groups)


def _grouped(x: Tensor, groups: int) -> Tensor:
    return x.float().flatten(0, -2).unflatten(-1, (groups, -1)).transpose(0, 1)


def _centered(x: Tensor, groups: int) -> Tensor:
    grouped = _grouped(x, groups)
    return grouped - grouped.mean(dim=1, keepdim=True)


def _metric(covariance: Tensor) -> tuple[Tensor, Tensor]:
    variance = covariance.diagonal(dim1=1, dim2=2).mean()
    size = covariance.square().sum() / covariance.shape[0] / covariance.shape[1]
    return size / variance.square().clamp(min=TINY), variance


class _Whiten(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, limit: Tensor, strength: Tensor, channels: slice, groups: int
    ) -> Tensor:
        ctx.save_for_backward(x, limit, strength)
        ctx.channels, ctx.groups = channels, groups
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        x, limit, strength = ctx.saved_tensors
        centered = _centered(x[..., ctx.channels], ctx.groups)
        covariance = centered.mT @ centered
        metric, variance = _metric(covariance)
        if _is_known(metric) and metric <= limit:
            return gradient, None, None, None, None
        covariance.diagonal(dim1=1, dim2=2).sub_(metric * variance)
        penalty = centered @ covariance
        gradient = gradient.clone()
        own = gradient[..., ctx.channels]
        size = strength * own.float().norm() / penalty.norm().clamp(min=TINY)
        due = size * (metric > limit)
        own += (penalty * due).transpose(0, 1).reshape(own.shape)
        return gradient, None, None, None, None


class _BatchedWhiten(torch.autograd.Function):
    """The same, with what is of the covariance alone computed in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, limit: Tensor, strength: Tensor, how: tuple[slice, int, Batch]
    ) -> Tensor:
        channels, groups, batch = ctx.how = how
        values = _grouped(x[..., channels], groups)
        mean = values.mean(dim=1, keepdim=True)
        centered = values - mean
        covariance = centered.mT @ centered
        variance = covariance.diagonal(dim1=1, dim2=2).mean()
        channels_count = covariance.shape[0] * covariance.shape[1]
        size = torch.linalg.vector_norm(covariance) / channels_count**0.5
        ctx.entry = batch.add(*(each[None] for each in (variance, size, limit, strength)))
        ctx.save_for_backward(x, mean, covariance)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        x, mean, covariance = ctx.saved_tensors
        channels, groups, batch = ctx.how
        minus_shift, strength = batch.outputs(ctx.entry)
        centered = _grouped(x[..., channels], groups) - mean
        penalty = torch.addcmul(centered @ covariance, centered, minus_shift)
        own = gradient[..., channels]
        scale = strength * own.float().norm() / (penalty.norm() + TINY)
        added = (penalty * scale).transpose(0, 1).reshape(own.shape).to(gradient.dtype)
        if own.shape == gradient.shape:
            return gradient + added, None, None, None
        gradient = gradient.clone()
        gradient[..., channels] += added
        return gradient, None, None, None


def shifts(
    variance: Tensor, size: Tensor, limit: Tensor, strength: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute minus metric · variance, and the strength where the metric is beyond its limit.

    Args:
        variance: Mean of the diagonal of each covariance.
        size: Its norm, over the root of how many channels there are.
        limit: Of the metric.
        strength: Of what is added.
    """
    shift = size.square() / variance.clamp(min=TINY)
    return -shift, strength * (shift > limit * variance)


def _is_known(value: Tensor) -> bool:
    """Whether Python may look at a number without waiting for a device or splitting a graph."""
    return value.device.type == "cpu" and not torch.compiler.is_compiling()
