"""Musical source association: a mixture finds its own stem, or that the source is absent.

Source: the released code of Garoufis et al., "Multi-Source Contrastive Learning from Musical
Audio" (2023), restated as: candidates are the positives that sound, and, if any is silent, one
null target, the mean of the silent positives' embeddings. Every anchor is scored against every
candidate; a silent anchor's target is the null. Without silence this is COLA; if all is silent,
there is one candidate, the loss is 0 and so is its gradient.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from audiossl.losses.info_nce import without_excluded


def source_association(
    anchors: Float[Tensor, "batch dim"],
    positives: Float[Tensor, "batch dim"],
    weight: Float[Tensor, "dim dim"],
    active: Bool[Tensor, " batch"],
) -> Float[Tensor, ""]:
    """Compute the loss with bilinear similarity a' W p, in one process.

    Args:
        anchors: Embeddings of mixtures.
        positives: Embeddings of a stem of each mixture, or of the null input.
        weight: W.
        active: Whether each positive's source sounds.

    Example:
        >>> mixtures, stems = torch.eye(3), 100 * torch.eye(3)
        >>> active = torch.tensor([True, True, False])  # the third looks for the null target
        >>> source_association(mixtures, stems, torch.eye(3), active)
        tensor(0.)
    """
    candidates = torch.cat([positives, null_target(positives, active)[None]])
    scores, targets = association_scores(anchors @ weight @ candidates.T, active)
    return F.cross_entropy(scores, targets)


def null_target(
    positives: Float[Tensor, "batch dim"], active: Bool[Tensor, " batch"]
) -> Float[Tensor, " dim"]:
    """Average the embeddings of silent positives, with gradient; zeros if none is silent."""
    silent = (~active).to(positives.dtype)
    return silent @ positives / silent.sum().clamp(min=1.0)


def association_scores(
    scores: Float[Tensor, "batch candidates_and_null"],
    active: Bool[Tensor, " candidates"],
    *,
    offset: int = 0,
    excluded: Bool[Tensor, "batch candidates"] | None = None,
) -> tuple[Float[Tensor, "batch candidates_and_null"], Int[Tensor, " batch"]]:
    """Take absent candidates out of the softmax and say which candidate each anchor looks for.

    Args:
        scores: This rank's anchors against every rank's positives and, last, the null target.
        active: Whether each positive, of any rank, sounds.
        offset: Column of the first anchor's positive.
        excluded: Pairs that are no negatives.

    Returns:
        Scores with minus infinity at absent candidates, and the target columns.

    Example:
        >>> active = torch.tensor([True, False])  # the second looks for the null target
        >>> association_scores(torch.arange(6.0).view(2, 3), active)
        (tensor([[0., -inf, 2.],
                [3., -inf, 5.]]), tensor([0, 2]))
    """
    null = scores.shape[1] - 1
    own = torch.arange(len(scores), device=scores.device) + offset
    targets = torch.where(active[own], own, null)
    absent = torch.cat([~active, active.all()[None]])
    present = scores.masked_fill(absent, float("-inf"))
    if excluded is not None:
        excluded = F.pad(excluded, (0, 1), value=False)
    return without_excluded(present, targets, excluded), targets
