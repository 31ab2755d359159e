"""Balancer: a change of gradients that keeps the statistics of each channel within limits.

For each channel, the ratio of mean and standard deviation and the root mean square of the
activations are compared with limits; where they lie outside, 0.04 of the absolute value of each
gradient, on average, is added in the direction that leads back.

Source: Zipformer (Yao et al., 2024), appendix, and its public implementation. There a Balancer acts
in a random part of the steps; when it acts is decided here in `regularizers.py`. There autograd
differentiates the statistics; here their derivative, an affine function of the activations in each
channel, is written out.
"""

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from audiossl.models.zipformer.training.batched import Batch

STRENGTH = 0.04
"""Root mean square of what is added, relative to the gradient."""
TINY = 1e-20
ROUNDING = 1e-12
"""Variance relative to power up to which it is nothing but the rounding of the mean."""


class Bounds(NamedTuple):
    """What statistics of a channel are kept between."""

    least_ratio: float
    """Least mean / standard deviation."""
    greatest_ratio: float
    """Greatest mean / standard deviation."""
    least_rms: float
    """Least root mean square."""
    greatest_rms: float
    """Greatest root mean square."""
    strength: float
    """Multiplies what is added; 1 unless the Balancer acts in a part of the steps only."""


def bounds(
    positive: tuple[float, float], absolute: tuple[float, float], strength: float = 1.0
) -> Bounds:
    """Translate limits of a Gaussian channel's values into limits of its statistics.

    Args:
        positive: Least and greatest part of the values that is positive.
        absolute: Least and greatest mean absolute value.
        strength: Multiplies what is added to gradients.
    """
    # Approximates the inverse of erf; for a Gaussian's ratio of mean and deviation it would have to
    # be multiplied by sqrt(2), which the public implementation leaves out.
    ratios = [0.8139535143 * _atanh(2 * part - 1) for part in positive]
    # For a Gaussian of mean 0: the root mean square over the mean absolute value is sqrt(pi / 2).
    sizes = [math.sqrt(math.pi / 2) * size for size in absolute]
    return Bounds(ratios[0], ratios[1], sizes[0], sizes[1], strength)


def balance(
    x: Float[Tensor, "*batch channels"],
    limits: Float[Tensor, "5"],
    channels: slice = slice(None),
    plus: float = 0.0,
    batch: Batch | None = None,
) -> Float[Tensor, "*batch channels"]:
    """Return `x`, with a gradient that leads the statistics of its channels into their limits.

    Args:
        x: Activations, channels last.
        limits: `Bounds`, as a tensor, so that a schedule does not change a compiled graph.
        channels: Those that are balanced.
        plus: Added to `x` before its statistics are taken.
        batch: Of `directions`, where those of all Balancers are computed together.
    """
    return _Balance.apply(x, limits, channels, plus, batch)


def _atanh(x: float) -> float:
    """Compute it as the public implementation does: ±11.86 at ±1, where it would be infinite."""
    return (math.log(1 + x + 1e-10) - math.log(1 - x + 1e-10)) / 2


class _Balance(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, limits: Tensor, channels: slice, plus: float, batch: Batch | None
    ) -> Tensor:
        ctx.save_for_backward(x, limits)
        ctx.channels, ctx.plus, ctx.batch = channels, plus, batch
        if batch is not None:
            values = x[..., channels].float().flatten(0, -2)
            variance, ctx.mean = torch.var_mean(values, dim=0, correction=0)
            each = limits[:, None].expand(-1, len(variance))
            ctx.entry = batch.add(ctx.mean + plus if plus else ctx.mean, variance, *each)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        x, limits = ctx.saved_tensors
        x = x[..., ctx.channels].float()
        if ctx.batch is not None:
            x = x - ctx.mean
            constant, slope = ctx.batch.outputs(ctx.entry)
        else:
            mean = x.flatten(0, -2).mean(dim=0)
            x = x - mean
            variance = x.flatten(0, -2).square().mean(dim=0)
            constant, slope = directions(mean + ctx.plus, variance, *limits.unbind())
        added = torch.addcmul(constant, slope, x)
        if ctx.batch is not None and x.shape == gradient.shape:
            gradient = torch.addcmul(gradient, gradient.abs(), added.to(gradient.dtype))
        else:
            gradient = gradient.clone()
            own = gradient[..., ctx.channels]
            own += own.abs() * added
        return gradient, None, None, None, None


def directions(mean: Tensor, variance: Tensor, *limits: Tensor) -> tuple[Tensor, Tensor]:
    """Derivative of the channels' excess by each value, as constant + slope · (value - mean).

    With m = mean / rms, r = deviation / rms and z = (value - mean) / deviation, the derivatives
    are, up to positive factors that the normalization removes, r - m z for mean / deviation and
    r² (m + r z) for log(rms). In these terms nothing overflows where a channel hardly varies.
    """
    least_ratio, greatest_ratio, least_rms, greatest_rms, strength = limits
    power = torch.addcmul(variance, mean, mean).clamp(min=TINY)
    # A constant channel has no z: the public implementation moves all of its values alike.
    constant = variance <= ROUNDING * power
    deviation, rms = variance.clamp(min=TINY).sqrt(), power.sqrt()
    ratio_side = _side(mean / deviation, least_ratio, greatest_ratio)
    m, r = mean / rms, deviation / rms
    rms_side = _side(rms, least_rms, greatest_rms) * r.square()
    offset = torch.addcmul(ratio_side * r, rms_side, m)
    slope = torch.addcmul(rms_side * r, ratio_side, m, value=-1.0)
    offset, slope = torch.where(constant, ratio_side, offset), slope.masked_fill(constant, 0.0)
    size = torch.addcmul(offset.square(), slope, slope).clamp(min=TINY)
    scale = size.rsqrt() * (strength * STRENGTH)
    return offset * scale, slope * scale / deviation


def _side(value: Tensor, least: Tensor, greatest: Tensor) -> Tensor:
    """Sign of how far a value is beyond its limits."""
    return (value - value.clamp(least, greatest)).sign()
