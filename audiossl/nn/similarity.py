"""Scores of anchors against candidates."""

from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class BilinearSimilarity(nn.Module):
    """s(a, p) = a' W p with a learned W, without temperature: COLA's default."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dim, dim))
        nn.init.normal_(self.weight, std=0.05)

    def queries(
        self,
        anchors: Float[Tensor, "batch dim"],
        temperature: float = 1.0,  # noqa: ARG002 - W has a scale of its own
    ) -> Float[Tensor, "batch dim"]:
        """Multiply by W."""
        return anchors @ self.weight

    def keys(self, candidates: Float[Tensor, "candidates dim"]) -> Float[Tensor, "candidates dim"]:
        """Leave candidates as they are."""
        return candidates

    def forward(
        self,
        anchors: Float[Tensor, "batch dim"],
        candidates: Float[Tensor, "candidates dim"],
        temperature: float = 1.0,
    ) -> Float[Tensor, "batch candidates"]:
        """Score every anchor against every candidate."""
        return self.queries(anchors, temperature) @ candidates.T


class CosineSimilarity(nn.Module):
    """Cosine of the angle between anchor and candidate, divided by a temperature.

    Example:
        >>> CosineSimilarity()(torch.eye(2), 7 * torch.eye(2), 0.5)
        tensor([[2., 0.],
                [0., 2.]])
    """

    def queries(
        self, anchors: Float[Tensor, "batch dim"], temperature: float
    ) -> Float[Tensor, "batch dim"]:
        """Normalize, and divide by the temperature."""
        return F.normalize(anchors, dim=1) / temperature

    def keys(self, candidates: Float[Tensor, "candidates dim"]) -> Float[Tensor, "candidates dim"]:
        """Normalize."""
        return F.normalize(candidates, dim=1)

    def forward(
        self,
        anchors: Float[Tensor, "batch dim"],
        candidates: Float[Tensor, "candidates dim"],
        temperature: float,
    ) -> Float[Tensor, "batch candidates"]:
        """Score every anchor against every candidate."""
        return self.keys(anchors) @ self.keys(candidates).T / temperature


Similarity: TypeAlias = BilinearSimilarity | CosineSimilarity
"""Scores that are products of mapped vectors, of queries and of keys."""
