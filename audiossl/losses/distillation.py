"""Losses towards frozen or slowly moving networks: soft negatives, and what holds a network back.

Sources: You et al., "Bootstrapping Semi-supervised Medical Image Segmentation with Anatomical-aware
Contrastive Distillation" (ACTION, 2023), after Tejankar et al., "ISD" (2021), for soft negatives;
Li, He, Song, "Model-Contrastive Federated Learning" (MOON, CVPR 2021) for the other.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from audiossl.errors import UserError


def soft_negatives(
    students: Float[Tensor, "batch dim"],
    teachers: Float[Tensor, "batch dim"],
    queue: Float[Tensor, "entries dim"],
    *,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.04,
) -> Float[Tensor, " batch"]:
    """Compute KL(teacher's distribution over the queue || the student's) of each clip.

    InfoNCE calls every other clip a negative, also those of the same song or speaker; here a slowly
    moving teacher says how similar each is. A teacher's temperature near 0 gives InfoNCE with the
    nearest entry as positive.

    Args:
        students: Unit vectors of one view, with gradient.
        teachers: Unit vectors of the teacher for the other view; they get no gradient.
        queue: The teacher's unit vectors of earlier clips.
        student_temperature: T_s.
        teacher_temperature: T_t, smaller: the teacher is sharper.

    Raises:
        UserError: A temperature is not above 0.
    """
    for name, value in (("student", student_temperature), ("teacher", teacher_temperature)):
        if not value > 0.0:
            raise UserError(f"{name}_temperature is {value}: give a number above 0")
    with torch.no_grad():
        targets = F.log_softmax(teachers @ queue.T / teacher_temperature, dim=1)
    predictions = F.log_softmax(students @ queue.detach().T / student_temperature, dim=1)
    return F.kl_div(predictions, targets, reduction="none", log_target=True).sum(dim=1)


def model_contrast(
    vectors: Float[Tensor, "batch dim"],
    released: Float[Tensor, "batch dim"],
    previous: Float[Tensor, "batch dim"],
    temperature: float = 0.5,
) -> Float[Tensor, " batch"]:
    """Draw a network's vectors to those of a released network and away from its own earlier ones.

    -log of the share of exp(cos(vectors, released) / t) beside exp(cos(vectors, previous) / t):
    where both are the same network it is log 2 and pulls nowhere.

    Args:
        vectors: Of the network that is trained.
        released: Of the released (in federation: the global) network, for the same input.
        previous: Of the network as it was before, for the same input.
        temperature: t, above 0.

    Example:
        >>> same = torch.ones(1, 3)
        >>> model_contrast(same, same, same)  # ln 2: neither nearer to one than to the other
        tensor([0.6931])
    """
    near = F.cosine_similarity(vectors, released.detach(), dim=1) / temperature
    far = F.cosine_similarity(vectors, previous.detach(), dim=1) / temperature
    return F.softplus(far - near)
