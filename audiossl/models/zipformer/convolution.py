"""The convolution module: a gated projection, a depthwise convolution over time, an activation."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from audiossl.models.zipformer.kernels.depthwise import depthwise_frames
from audiossl.models.zipformer.swoosh import SWOOSH_R, activated_linear
from audiossl.models.zipformer.training.regularizers import (
    NO_REGULARIZERS,
    Balance,
    GradientRegularizers,
    Whitening,
)


class ConvolutionModule(nn.Module):
    """Frames to frames: out(SwooshR(depthwise(a · sigmoid(b)))), with a and b projected.

    Example:
        >>> padding = torch.tensor([[False, False, True]])
        >>> ConvolutionModule(8, kernel_size=5)(torch.randn(1, 3, 8), padding).shape
        torch.Size([1, 3, 8])
    """

    def __init__(self, dim: int, kernel_size: int) -> None:
        super().__init__()
        self.in_proj = nn.Linear(dim, 2 * dim)
        self.depthwise_conv = Depthwise(dim, kernel_size)
        self.out_proj = nn.Linear(dim, dim)

    def forward(
        self,
        frames: Float[Tensor, "batch frames dim"],
        padding: Bool[Tensor, "batch frames"],
        regularizers: GradientRegularizers = NO_REGULARIZERS,
    ) -> Float[Tensor, "batch frames dim"]:
        """Mix neighbors in time, channel by channel; padding counts as zeros."""
        projected = self.in_proj(frames)
        gates = slice(frames.shape[-1], None)
        projected = regularizers.balance(projected, Balance.DEPTHWISE_GATE, gates)
        shifted = self.depthwise_conv(gated(projected, padding))
        shifted = regularizers.balance(shifted, Balance.DEPTHWISE_OUTPUT, plus=SWOOSH_R.shift)
        shifted = regularizers.whiten(shifted, Whitening.CONVOLUTION)
        return activated_linear(shifted, self.out_proj.weight, self.out_proj.bias, SWOOSH_R)


class Depthwise(nn.Conv1d):
    """Each channel convolved over time with its own kernel, to x - shift, for SwooshR."""

    bias: nn.Parameter

    def __init__(self, dim: int, kernel_size: int) -> None:
        super().__init__(dim, dim, kernel_size, padding=kernel_size // 2, groups=dim)

    def forward(
        self, frames: Float[Tensor, "batch frames dim"]
    ) -> Float[Tensor, "batch frames dim"]:
        """Convolve frames that lie as linear maps leave them."""
        return depthwise_frames(frames, self.weight, self.bias - SWOOSH_R.shift)


def gated(
    projected: Float[Tensor, "batch frames two_dims"], padding: Bool[Tensor, "batch frames"]
) -> Float[Tensor, "batch frames dim"]:
    """Compute a · sigmoid(b) of the two halves of channels, and zero where padding is."""
    return _Gated.apply(projected, padding[..., None])


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, projected: Tensor, padding: Tensor) -> Tensor:
        ctx.save_for_backward(projected, padding)
        # Not in place: a compiled graph would lose the gradient.
        return F.glu(projected, dim=-1).masked_fill(padding, 0.0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        projected, padding = ctx.saved_tensors
        to_projected = torch.ops.aten.glu_backward(gradient, projected, -1)
        return to_projected.masked_fill_(padding, 0.0), None
