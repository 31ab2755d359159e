"""InfoNCE: find each anchor's positive among all candidates."""

from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

ContrastiveLoss: TypeAlias = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(scores, targets, excluded) -> mean over anchors; see `info_nce` for their shapes."""


def info_nce(
    scores: Float[Tensor, "batch candidates"],
    targets: Int[Tensor, " batch"] | None = None,
    excluded: Bool[Tensor, "batch candidates"] | None = None,
    *,
    offset: int = 0,
    reduction: Literal["mean", "none"] = "mean",
) -> Float[Tensor, "*batch"]:
    """Average the softmax cross-entropy of anchors over their candidates.

    One direction, anchors to candidates, as COLA's code has it (Saeed et al. 2021).

    Args:
        scores: Similarity of this rank's anchors to every rank's candidates.
        targets: Column of each anchor's positive; by default `offset`, `offset` + 1, ...
        excluded: Pairs that are no negatives, such as crops of one recording; an anchor's own
            positive counts whatever stands here.
        offset: Column of the first anchor's positive.
        reduction: "none" gives one value an anchor.

    Example:
        >>> scores = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
        >>> round(float(info_nce(scores)), 4)  # ln(1 + exp(-2))
        0.1269
    """
    if targets is None:
        targets = torch.arange(len(scores), device=scores.device) + offset
    return F.cross_entropy(
        without_excluded(scores, targets, excluded), targets, reduction=reduction
    )


def without_excluded(
    scores: Float[Tensor, "batch candidates"],
    targets: Tensor,
    excluded: Bool[Tensor, "batch candidates"] | None,
) -> Float[Tensor, "batch candidates"]:
    """Take excluded candidates, except the targets, out of the softmax."""
    if excluded is None:
        return scores
    own = F.one_hot(targets, scores.shape[1]).bool()
    return scores.masked_fill(excluded & ~own, float("-inf"))
