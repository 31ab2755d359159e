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

from audiossl.models.zipformer.kernels.blocks import Assembled, Place, runs_on_caches
from audiossl.nn.graphs import for_any_length

SLOPE = 0.08
EXPONENT = 80.0
"""From here on exp(x) would overflow in fp32, and long before, log(1 + exp(x)) is x."""


class Swoosh(NamedTuple):
    """Constants of one of the two activations."""

    shift: float
    offset: float


SWOOSH_L = Swoosh(shift=4.0, offset=0.035)
SWOOSH_R = Swoosh(shift=1.0, offset=0.313261687)


def activate(shifted: Float[Tensor, "*shape"], swoosh: Swoosh) -> Float[Tensor, "*shape"]:
    """Compute an activation of x, given x - shift.

    Example:
        >>> activate(torch.tensor([-10.0, 10.0]) - SWOOSH_R.shift, SWOOSH_R)
        tensor([0.4868, 7.8869])
    """
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


def _grown(shifted: Tensor) -> Tensor | None:
    """Compute 1 + exp(shifted) where its logarithm and reciprocal are cheaper than one kernel.

    They are on a CPU: torch's kernels for exp and log take a tenth of the time of log1p, which is
    what both softplus and logaddexp are made of. A compiled graph makes one kernel of either.
    """
    if not (runs_on_caches(shifted) and shifted.dtype == torch.float32 and shifted.numel()):
        return None
    # To look at the largest costs less than to clamp all of them.
    return shifted.exp().add_(1.0) if float(shifted.amax()) < EXPONENT else None


def _softplus(shifted: Tensor, grown: Tensor | None) -> Tensor:
    if grown is not None:
        return grown.log()
    # Autocast would have softplus return fp32, but for the form with `out`, which no graph takes.
    if torch.compiler.is_compiling():
        return torch.logaddexp(shifted, shifted.new_zeros(()))
    return torch.ops.aten.softplus.out(shifted, 1.0, 20.0, out=torch.empty_like(shifted))


def _activate(shifted: Tensor, grown: Tensor | None, swoosh: Swoosh, mask: Tensor | None) -> Tensor:
    active = _softplus(shifted, grown).sub_(swoosh.offset + SLOPE * swoosh.shift)
    active.add_(shifted, alpha=-SLOPE)
    return active if mask is None else active.mul_(mask)


def _pull_back(gradient: Tensor, shifted: Tensor, grown: Tensor | None) -> Tensor:
    # sigmoid(shifted) - SLOPE is the derivative.
    if grown is not None:
        return (gradient * (1.0 - SLOPE)).addcdiv_(gradient, grown, value=-1.0)
    product = torch.ops.aten.softplus_backward(gradient, shifted, 1.0, 20.0)
    return product.add_(gradient, alpha=-SLOPE)


def _part(mask: Tensor | None, place: Place) -> Tensor | None:
    """Mask of some sequences, which is alike for all frames."""
    return None if mask is None else mask[place[0]]


def _linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if for_any_length():
        return F.linear(x, weight, bias)
    # Of matrices, the sum with the bias is no kernel of its own.
    return F.linear(x.flatten(0, -2), weight, bias).unflatten(0, x.shape[:-1])


class _Activation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, shifted: Tensor, swoosh: Swoosh) -> Tensor:
        ctx.save_for_backward(shifted)
        # Not all in place: a compiled graph would lose the gradient.
        soft = _softplus(shifted, _grown(shifted)).sub_(swoosh.offset + SLOPE * swoosh.shift)
        return torch.add(soft, shifted, alpha=-SLOPE)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (shifted,) = ctx.saved_tensors
        return _pull_back(gradient, shifted, _grown(shifted)), None


class _ActivatedLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, shifted: Tensor, weight: Tensor, bias: Tensor, swoosh: Swoosh, mask: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(shifted, weight, mask)
        ctx.swoosh = swoosh
        output = Assembled(shifted)
        for place in output.places:
            own = shifted[place]
            active = _activate(own, _grown(own), swoosh, _part(mask, place))
            output[place] = _linear(active, weight, bias)
        return output.whole

    @staticmethod
    def backward(
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None, None, None]:
        shifted, weight, mask = ctx.saved_tensors
        to_bias = gradient.flatten(0, -2).sum(dim=0) if ctx.needs_input_grad[2] else None
        to_weight, to_shifted = None, Assembled(shifted)
        # Under autocast the weight is fp32, and what flows is not.
        weight = weight.to(gradient.dtype)
        for place in to_shifted.places:
            part, own, dropout = gradient[place], shifted[place], _part(mask, place)
            grown = _grown(own)
            if ctx.needs_input_grad[1]:
                active = _activate(own, grown, ctx.swoosh, dropout)
                factors = part.flatten(0, -2).T, active.flatten(0, -2)
                to_weight = torch.mm(*factors) if to_weight is None else to_weight.addmm_(*factors)
            to_active = part @ weight
            if dropout is not None:
                to_active.mul_(dropout)
            to_shifted[place] = _pull_back(to_active, own, grown)
        return to_shifted.whole, to_weight, to_bias, None, None
