"""InfoNCE: find each anchor's positive among all candidates."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F


def info_nce(
    scores: Float[Tensor, "batch candidates"],
    *,
    offset: int = 0,
    excluded: Bool[Tensor, "batch candidates"] | None = None,
    reduction: Literal["mean", "none"] = "mean",
) -> Float[Tensor, "*batch"]:
    """Average the softmax cross-entropy of anchors, whose positives are `offset`, `offset` + 1, ...

    One direction, anchors to candidates, as COLA's code has it (Saeed et al. 2021).

    Args:
        scores: Similarity of this rank's anchors to every rank's candidates.
        offset: Column of the first anchor's positive.
        excluded: Pairs that are no negatives, such as crops of one recording; an anchor's own
            positive counts whatever stands here.
        reduction: "none" gives one value an anchor.
    """
    targets = torch.arange(len(scores), device=scores.device) + offset
    kept = without_excluded(scores, targets, excluded)
    return F.cross_entropy(kept, targets, reduction=reduction)


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
