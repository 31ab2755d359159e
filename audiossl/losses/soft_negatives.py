"""Soft negatives: the student learns how similar a slow teacher finds earlier clips.

InfoNCE calls every other clip a negative, also those of the same song or speaker. Here a teacher's
similarities to a queue of its own earlier vectors, as a distribution, are the target of the
student's. A teacher's temperature near 0 gives InfoNCE with the nearest entry as positive.

Source: You et al., "Bootstrapping Semi-supervised Medical Image Segmentation with Anatomical-aware
Contrastive Distillation" (ACTION, 2023), after Tejankar et al., "ISD: Self-Supervised Learning by
Iterative Similarity Distillation" (2021).
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F


def soft_negatives(
    students: Float[Tensor, "batch dim"],
    teachers: Float[Tensor, "batch dim"],
    queue: Float[Tensor, "entries dim"],
    *,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.04,
    excluded: Bool[Tensor, "batch entries"] | None = None,
) -> Float[Tensor, " batch"]:
    """Compute KL(teacher's distribution over the queue || the student's) of each item.

    Args:
        students: Unit vectors of one view, with gradient.
        teachers: Unit vectors of the teacher for the other view; they get no gradient.
        queue: The teacher's unit vectors of earlier items, at least one.
        student_temperature: T_s.
        teacher_temperature: T_t, smaller: the teacher is sharper.
        excluded: Entries that are none of an item's candidates.

    Example:
        >>> views, queue = torch.eye(2), torch.eye(2)
        >>> soft_negatives(views, views, queue, student_temperature=0.04)  # as the teacher says
        tensor([0., 0.])
    """
    with torch.no_grad():
        targets = _log_shares(teachers, queue, teacher_temperature, excluded)
    predictions = _log_shares(students, queue.detach(), student_temperature, excluded)
    return F.kl_div(predictions, targets, reduction="none", log_target=True).sum(dim=1)


def _log_shares(
    vectors: Float[Tensor, "batch dim"],
    queue: Float[Tensor, "entries dim"],
    temperature: float,
    excluded: Bool[Tensor, "batch entries"] | None,
) -> Float[Tensor, "batch entries"]:
    scores = vectors @ queue.T / temperature
    if excluded is not None:
        # Finite, because 0 times the difference of two infinities is no number.
        scores = scores.masked_fill(excluded, -1e9)
    return F.log_softmax(scores, dim=1)
