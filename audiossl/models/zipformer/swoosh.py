"""SwooshL and SwooshR, the activations of Zipformer, alone and in front of a linear map.

Both are log(1 + exp(x - shift)) - 0.08 x - offset. In terms of x - shift, which a bias before the
activation can take care of, no pass over the data is spent on the shift. Forward and backward are
one node of the graph each, which keeps its input and nothing else.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

SLOPE = 0.08


class Swoosh(NamedTuple):
    """Constants of one of the two activations."""

    shift: float
    offset: float


SWOOSH_L = Swoosh(shift=4.0, offset=0.035)
SWOOSH_R = Swoosh(shift=1.0, offset=0.313261687)


def swoosh_l(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Compute log(1 + exp(x - 4)) - 0.08 x - 0.035."""
    return activate(x - SWOOSH_L.shift, SWOOSH_L)


def swoosh_r(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Compute log(1 + exp(x - 1)) - 0.08 x - 0.313261687, which is zero at zero."""
    return activate(x - SWOOSH_R.shift, SWOOSH_R)


def activate(shifted: Float[Tensor, "*shape"], swoosh: Swoosh) -> Float[Tensor, "*shape"]:
    """Compute an activation of x, given x - shift."""
    return _Activation.apply(shifted, swoosh)


def activated_linear(
    shifted: Float[Tensor, "*batch hidden"],
    weight: Float[Tensor, "dim hidden"],
    bias: Float[Tensor, " dim"],
    swoosh: Swoosh,
    mask: Float[Tensor, "*broadcast hidden"] | None = None,
) -> Float[Tensor, "*batch dim"]:
    """Map the activation of x linearly, given x - shift; the activation itself is not kept.

    Args:
        shifted: x - shift.
        weight: Of the linear map.
        bias: Of the linear map.
        swoosh: Which activation.
        mask: Multiplies the activation (dropout).
    """
    return _ActivatedLinear.apply(shifted, weight, bias, swoosh, mask)


def _activate(shifted: Tensor, swoosh: Swoosh, mask: Tensor | None = None) -> Tensor:
    # logaddexp(y, 0), and not softplus(y), which autocast would compute and return in fp32.
    soft = torch.logaddexp(shifted, shifted.new_zeros(()))
    # The last operation makes a tensor of its own: a compiled graph loses the gradient of an output
    # of an autograd function that was changed in place.
    active = soft.add_(shifted, alpha=-SLOPE).sub(swoosh.offset + SLOPE * swoosh.shift)
    return active if mask is None else active.mul_(mask)


def _pull_back(gradient: Tensor, shifted: Tensor) -> Tensor:
    # sigmoid(shifted) - SLOPE is the derivative; the first product is one kernel of torch.
    product = torch.ops.aten.softplus_backward(gradient, shifted, 1.0, 20.0)
    return product.add_(gradient, alpha=-SLOPE)


class _Activation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, shifted: Tensor, swoosh: Swoosh) -> Tensor:
        ctx.save_for_backward(shifted)
        return _activate(shifted, swoosh)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (shifted,) = ctx.saved_tensors
        return _pull_back(gradient, shifted), None


class _ActivatedLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, shifted: Tensor, weight: Tensor, bias: Tensor, swoosh: Swoosh, mask: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(shifted, weight, mask)
        ctx.swoosh = swoosh
        return F.linear(_activate(shifted, swoosh, mask), weight, bias)

    @staticmethod
    def backward(
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None, None, None]:
        shifted, weight, mask = ctx.saved_tensors
        flat = gradient.flatten(0, -2)
        to_weight = to_bias = None
        if ctx.needs_input_grad[1]:
            to_weight = flat.T @ _activate(shifted, ctx.swoosh, mask).flatten(0, -2)
        if ctx.needs_input_grad[2]:
            to_bias = flat.sum(dim=0)
        # Under autocast the weight is fp32, and what flows is not.
        to_active = gradient @ weight.to(gradient.dtype)
        if mask is not None:
            to_active.mul_(mask)
        return _pull_back(to_active, shifted), to_weight, to_bias, None, None
