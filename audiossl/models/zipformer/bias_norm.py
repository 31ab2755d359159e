"""BiasNorm: normalization by the root mean square of what differs from a learned bias.

y = x · mean((x - bias)²)^(-1/2) · exp(log_scale): the bias is taken off inside the norm alone, so
that a large constant channel can carry the information of length which LayerNorm would remove.
Source: Zipformer (Yao et al., 2024), eq. 4.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from audiossl.models.zipformer.training.limits import ParameterLimit, limited


class BiasNorm(nn.Module):
    """Normalize vectors; there is no epsilon."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(1.0))
        self.bias = nn.Parameter(torch.empty(dim).normal_(mean=0.0, std=1e-4))

    def forward(
        self, x: Float[Tensor, "*batch dim"], limit: ParameterLimit | None = None
    ) -> Float[Tensor, "*batch dim"]:
        """Normalize the last dimension; `limit` keeps `log_scale` in bounds while training."""
        return bias_norm(x, self.bias, limited(self.log_scale, limit))


def bias_norm(
    x: Float[Tensor, "*batch dim"], bias: Float[Tensor, " dim"], log_scale: Float[Tensor, ""]
) -> Float[Tensor, "*batch dim"]:
    """Compute x · mean((x - bias)²)^(-1/2) · exp(log_scale), statistics in fp32 at least.

    Example:
        >>> bias_norm(torch.tensor([[3.0, 3.0]]), torch.zeros(2), torch.tensor(0.0))  # rms 1
        tensor([[1., 1.]])
    """
    return _BiasNorm.apply(x, bias, log_scale)


class _BiasNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor, log_scale: Tensor) -> Tensor:
        precise = torch.promote_types(x.dtype, torch.float32)
        norm = torch.linalg.vector_norm(x - bias, dim=-1, keepdim=True, dtype=precise)
        scale = log_scale.exp() * x.shape[-1] ** 0.5 / norm
        ctx.save_for_backward(x, bias, norm, scale)
        return x * scale

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, bias, norm, scale = ctx.saved_tensors
        # With s the scale of a vector, ds/dx = -s (x - bias) / norm².
        slope = (gradient * x).sum(dim=-1, keepdim=True) * scale
        pull = slope / norm.square()
        centered = x - bias
        bias_gradient = pull.flatten() @ centered.flatten(0, -2)
        return (gradient * scale).addcmul_(centered, pull, value=-1), bias_gradient, slope.sum()
