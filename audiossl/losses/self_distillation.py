"""Self-distillation: a student says which of many prototypes its slow teacher finds.

The teacher's scores are centered, so that no prototype takes all, and sharpened by a low
temperature, so that not all take the same share; both together keep it from saying one thing of
everything.

Source: Caron et al., "Emerging Properties in Self-Supervised Vision Transformers" (DINO, 2021).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from audiossl import distributed
from audiossl.configs import Count, Positive, Share, Whole


@dataclass(frozen=True, kw_only=True)
class PrototypesConfig:
    """Prototypes of one level (clips, or frames), and how sharp scores are."""

    size: Count = 8192
    """Number of prototypes."""
    hidden: Count = 2048
    """Dimension of the hidden layers of the head."""
    bottleneck: Count = 256
    """Dimension of the unit vectors that are compared with prototypes."""
    student_temperature: Positive = 0.1
    """Temperature that divides the student's cosines."""
    teacher_temperature: Positive = 0.04
    """Temperature that divides the teacher's cosines at first."""
    final_temperature: Positive = 0.07
    """Temperature that divides the teacher's cosines after the warm-up."""
    warmup_steps: Whole = 10000
    """Number of steps in which the teacher's temperature goes from the one to the other."""
    center_momentum: Share = 0.9
    """Share of the center that stays at each step."""


class PrototypeHead(nn.Module):
    """Three layers to unit vectors, and their cosines with prototypes.

    Example:
        >>> head = PrototypeHead(8, PrototypesConfig(size=5, hidden=4, bottleneck=3))
        >>> head(torch.randn(2, 7, 8)).shape
        torch.Size([2, 7, 5])
    """

    def __init__(self, dim: int, config: PrototypesConfig) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(dim, config.hidden), nn.GELU(), nn.Linear(config.hidden, config.hidden),
            nn.GELU(), nn.Linear(config.hidden, config.bottleneck),
        )  # fmt: skip
        self.prototypes = nn.Parameter(torch.randn(config.size, config.bottleneck))

    def forward(self, vectors: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch size"]:
        """Compute cosines."""
        units = F.normalize(self.layers(vectors), dim=-1)
        return units @ F.normalize(self.prototypes, dim=-1).T


class Center(nn.Module):
    """The running mean of a teacher's scores, over all ranks."""

    mean: Float[Tensor, " size"]

    def __init__(self, config: PrototypesConfig) -> None:
        super().__init__()
        self.momentum = config.center_momentum
        self.register_buffer("mean", torch.zeros(config.size))
        self.sums: list[tuple[Tensor, Tensor]] = []

    def note(self, scores: Float[Tensor, "some size"]) -> None:
        """Let scores of this step wait for `update`."""
        count = torch.tensor(float(len(scores)), device=scores.device)
        self.sums.append((scores.detach().float().sum(dim=0), count))

    @torch.no_grad()
    def update(self) -> None:
        """Take in what has waited, of all ranks and micro-batches."""
        sums, counts = (
            distributed.total(torch.stack(parts).sum(dim=0))
            for parts in zip(*self.sums, strict=True)
        )
        self.sums = []
        if counts > 0:
            self.mean.lerp_((sums / counts).to(self.mean), 1.0 - self.momentum)


def teacher_temperature(config: PrototypesConfig, step: int) -> float:
    """Compute the teacher's temperature at a step, counted from 0.

    Example:
        >>> config = PrototypesConfig(warmup_steps=10)
        >>> [round(teacher_temperature(config, step), 3) for step in (0, 5, 10, 99)]
        [0.04, 0.055, 0.07, 0.07]
    """
    done = min(step / config.warmup_steps, 1.0) if config.warmup_steps else 1.0
    first, last = config.teacher_temperature, config.final_temperature
    return first + (last - first) * done


def self_distillation(
    student: Float[Tensor, "*batch size"],
    teacher: Float[Tensor, "*batch size"],
    center: Float[Tensor, " size"],
    *,
    student_temperature: float,
    teacher_temperature: float,
) -> Float[Tensor, "*batch"]:
    """Compute the cross-entropy of the student's distribution under the teacher's.

    Args:
        student: Cosines with the student's prototypes.
        teacher: Cosines with the teacher's; they get no gradient.
        center: Mean of the teacher's cosines.
        student_temperature: Divides the student's.
        teacher_temperature: Divides the teacher's, lower.
    """
    targets = F.softmax((teacher.detach() - center) / teacher_temperature, dim=-1)
    return -(targets * F.log_softmax(student / student_temperature, dim=-1)).sum(dim=-1)


def valid_rows(
    values: Float[Tensor, "batch frames size"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "some size"]:
    """List the frames that are valid."""
    places = torch.arange(values.shape[1], device=values.device)
    return values[places < lengths[:, None]]
