"""Two views of the same frames teach each other what they are sure of.

Source: Liu et al., "Translation Consistent Semi-supervised Segmentation for 3D Medical Images"
(TraCoCo, 2022). Two differences: one network has both views, where theirs are two; there is no
negative term, whose public code holds for two classes only.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def mutual_divergence(
    first: Float[Tensor, "*items classes"],
    second: Float[Tensor, "*items classes"],
    *,
    exclusive: bool,
    confidence: float = 0.65,
) -> Float[Tensor, "*items"]:
    """Add up the divergence of each view from the other, where the other is sure.

    Args:
        first: Scores of one view, before softmax or sigmoid.
        second: Scores of the other.
        exclusive: Whether an item has one class (KL of a softmax) or any number (the mean over
            classes of the KL of a sigmoid, each class being sure or not by itself).
        confidence: Least probability, of the likeliest class or of what a class is said to be, from
            which a view is sure.

    Returns:
        Nats an item. A view that teaches gets no gradient for it.

    Example:
        >>> sure, unsure = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 0.0]])
        >>> mutual_divergence(sure, unsure, exclusive=True)  # KL of (0.88, 0.12) and (0.5, 0.5)
        tensor([0.3278])
    """
    divergence = _of_one_class if exclusive else _of_any_classes
    return divergence(first.detach(), second, confidence) + divergence(
        second.detach(), first, confidence
    )


def _of_one_class(teacher: Tensor, student: Tensor, confidence: float) -> Tensor:
    targets, predictions = teacher.log_softmax(dim=-1), student.log_softmax(dim=-1)
    divergence = F.kl_div(predictions, targets, reduction="none", log_target=True).sum(dim=-1)
    return divergence * (targets.exp().amax(dim=-1) >= confidence)


def _of_any_classes(teacher: Tensor, student: Tensor, confidence: float) -> Tensor:
    targets = teacher.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(teacher, targets, reduction="none")
    divergence = F.binary_cross_entropy_with_logits(student, targets, reduction="none") - entropy
    return (divergence * (torch.maximum(targets, 1 - targets) >= confidence)).mean(dim=-1)
