"""Bypass: a learned mixture, channel by channel, of what goes into a block and what comes out.

Source: Zipformer (Yao et al., 2024), section 3.2. While training, a sequence can be made to go past
the block, and the mixture is kept from doing so for good.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from audiossl.models.zipformer.training.limits import ParameterLimit, limited


class Bypass(nn.Module):
    """original + (changed - original) · scale."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.bypass_scale = nn.Parameter(torch.full((dim,), 0.5))

    def forward(
        self,
        original: Float[Tensor, "batch frames dim"],
        changed: Float[Tensor, "batch frames dim"],
        limit: ParameterLimit | None = None,
        keep: Float[Tensor, "batch 1 1"] | None = None,
    ) -> Float[Tensor, "batch frames dim"]:
        """Mix a block's input and output.

        Args:
            original: What went into the block.
            changed: What came out.
            limit: Bounds of the scale, while training.
            keep: 0 for the sequences that go past the block, 1 for the others.
        """
        scale = limited(self.bypass_scale, limit)
        return mix(original, changed, scale if keep is None else scale * keep)


def mix(
    original: Float[Tensor, "batch frames dim"],
    changed: Float[Tensor, "batch frames dim"],
    scale: Float[Tensor, "*broadcast dim"],
) -> Float[Tensor, "batch frames dim"]:
    """Compute original + (changed - original) · scale.

    Example:
        >>> mix(torch.zeros(1, 2, 1), torch.ones(1, 2, 1), torch.tensor([0.25])).flatten()
        tensor([0.2500, 0.2500])
    """
    return _Mix.apply(original, changed, scale)


class _Mix(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, original: Tensor, changed: Tensor, scale: Tensor) -> Tensor:
        # The stream of frames may be fp32 where the scale is not, and the other way round.
        changed, scale = changed.to(original.dtype), scale.to(original.dtype)
        ctx.save_for_backward(original, changed, scale)
        return torch.lerp(original, changed, scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        original, changed, scale = ctx.saved_tensors
        to_changed = gradient * scale
        to_scale = None
        if ctx.needs_input_grad[2]:
            to_scale = (changed - original).mul_(gradient).sum_to_size(scale.shape)
        return gradient - to_changed, to_changed, to_scale
