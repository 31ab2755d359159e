"""Masked margin softmax: InfoNCE whose positives must win by a margin.

Source: Ilharco, Zhang, Baldridge, "Large-scale representation learning from visually grounded
untranscribed speech" (2019), as Liu et al. (ACL 2022) use it: dot products, no temperature, a
fixed margin of 0.001.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from audiossl.losses.info_nce import info_nce


def margin_softmax(
    scores: Float[Tensor, "batch candidates"],
    *,
    margin: float = 0.001,
    offset: int = 0,
    excluded: Bool[Tensor, "batch candidates"] | None = None,
) -> Float[Tensor, ""]:
    """Average the cross-entropy of anchors, from whose own score the margin is taken first.

    One direction. Papers take the other one too, with the roles of the sides exchanged, and add
    the two (the group's public code) or average them.

    Args:
        scores: This rank's anchors against every rank's candidates.
        margin: By how much a positive must win.
        offset: Column of the first anchor's positive.
        excluded: Pairs that are no negatives, such as two readings of one text.

    Example:
        >>> scores = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> margin_softmax(scores, margin=1.0)  # ln 2: a positive that wins by the margin alone
        tensor(0.6931)
    """
    targets = torch.arange(len(scores), device=scores.device) + offset
    own = F.one_hot(targets, scores.shape[1]).to(scores)
    return info_nce(scores - margin * own, offset=offset, excluded=excluded)
