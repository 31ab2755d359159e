"""Limits of parameters that act on gradients: what is out of bounds is not driven further out.

Values are left as they are; where one lies outside and its gradient would push it further, the sign
of that gradient is turned around in a part of the steps.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

PROBABILITY = 0.6
"""Part of the steps in which a limit acts."""


@dataclass(frozen=True)
class ParameterLimit:
    """Bounds of a parameter in one step."""

    low: Float[Tensor, ""]
    """Least value; a tensor, because it is scheduled and a compiled graph is not."""
    high: float
    """Greatest value."""
    acts: Bool[Tensor, ""]
    """Whether chance has the limit act in this step."""


def limited(
    parameter: Float[Tensor, "*shape"], limit: ParameterLimit | None
) -> Float[Tensor, "*shape"]:
    """Return `parameter`, with a gradient that does not push it out of its bounds."""
    if limit is None:
        return parameter
    return _Limited.apply(parameter, limit.low, limit.high, limit.acts)


class _Limited(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, parameter: Tensor, low: Tensor, high: float, acts: Tensor) -> Tensor:
        ctx.save_for_backward(parameter, low, acts)
        ctx.high = high
        return parameter.view_as(parameter)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        parameter, low, acts = ctx.saved_tensors
        excess = parameter - torch.maximum(parameter, low).clamp(max=ctx.high)
        # An update goes against the gradient: too large a value grows where that is negative.
        outward = (excess * gradient < 0) & acts
        return torch.where(outward, -gradient, gradient), None, None, None
