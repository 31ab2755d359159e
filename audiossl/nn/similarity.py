"""Scores of anchors against candidates."""

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

    def forward(
        self, anchors: Float[Tensor, "batch dim"], candidates: Float[Tensor, "candidates dim"]
    ) -> Float[Tensor, "batch candidates"]:
        """Score every anchor against every candidate."""
        return anchors @ self.weight @ candidates.T


class CosineSimilarity(nn.Module):
    """Cosine of the angle between anchor and candidate, divided by a temperature.

    Example:
        >>> CosineSimilarity(temperature=0.5)(torch.eye(2), 7 * torch.eye(2))
        tensor([[2., 0.],
                [0., 2.]])
    """

    def __init__(self, temperature: float = 0.2) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(
        self, anchors: Float[Tensor, "batch dim"], candidates: Float[Tensor, "candidates dim"]
    ) -> Float[Tensor, "batch candidates"]:
        """Score every anchor against every candidate."""
        return F.normalize(anchors, dim=1) @ F.normalize(candidates, dim=1).T / self.temperature
