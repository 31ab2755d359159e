"""Heads between an encoder and its loss; thrown away after training."""

from jaxtyping import Float
from torch import Tensor, nn


class TanhProjection(nn.Module):
    """Dense layer, layer norm, tanh: the projection head of COLA, with values in (-1, 1).

    Example:
        >>> import torch
        >>> TanhProjection(8, 4)(torch.randn(2, 8)).shape
        torch.Size([2, 4])
    """

    def __init__(self, dim: int, projection_dim: int) -> None:
        super().__init__()
        self.dense = nn.Linear(dim, projection_dim)
        self.norm = nn.LayerNorm(projection_dim, eps=1e-3)
        nn.init.xavier_uniform_(self.dense.weight)
        nn.init.zeros_(self.dense.bias)

    def forward(self, vectors: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch projection"]:
        """Project clip vectors."""
        return self.norm(self.dense(vectors)).tanh()
