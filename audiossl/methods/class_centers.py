"""Class centers beside the loss of a head: what few labels there are shape the space of vectors.

The vector that a head scores is projected, drawn to vectors of its class in earlier batches and to
the center of its class. Centers are the corners of a simplex; which class has which follows the
moving average of its vectors.

Source: ACTION++ (see `losses.class_centers`), with the weights of its authors' code. Differences:
centers are in closed form, and vectors are those of clips.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from audiossl.configs import Count, Nonnegative, Positive, Share
from audiossl.errors import UserError
from audiossl.losses.class_centers import assigned_centers, center_losses, supervised_contrast
from audiossl.losses.labels import Loss, Outputs
from audiossl.nn.queue import VectorQueue
from audiossl.nn.simplex import simplex_centers


@dataclass(frozen=True, kw_only=True)
class CentersConfig:
    """Terms of class centers, for one class a cut."""

    weight: Nonnegative = 0.01
    """Weight of the terms against the loss of the head."""
    center_weight: Nonnegative = 0.1
    """Weight of the term of centers against that of vectors of earlier batches."""
    temperature: Positive = 0.1
    """Temperature that divides cosines."""
    projection_dim: Count = 128
    """Dimension of the centers; at least the number of classes minus one."""
    momentum: Share = 0.9
    """Weight of a class's mean vector in its moving average, of one step."""
    queue: Count = 256
    """Number of vectors of earlier batches that are compared with."""


class ClassCenters(nn.Module):
    """A projection, the centers, and what is known of the classes so far.

    Example:
        >>> centers = ClassCenters(4, Outputs("classes", (3,)), CentersConfig(projection_dim=2))
        >>> loss = centers(torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1]))
        >>> sorted(loss.metrics)
        ['center_loss', 'class_contrast']
        >>> centers.after_update()
        >>> len(centers.queue.entries)
        5
    """

    corners: Float[Tensor, "classes dim"]
    means: Float[Tensor, "classes dim"]
    assigned: Int[Tensor, " classes"]

    def __init__(self, dim: int, outputs: Outputs, config: CentersConfig) -> None:
        """Place the centers.

        Args:
            dim: Dimension of the vectors that are projected.
            outputs: The classes.
            config: Weights and sizes.

        Raises:
            UserError: A cut has no single class, or there is one class, or too many.
        """
        super().__init__()
        if outputs.objective != "classes" or len(outputs.sizes) > 1:
            raise UserError(
                f"method.centers: a cut has one class, not {' x '.join(map(str, outputs.sizes))} "
                f"{outputs.objective}: set target: classes with one label, or leave centers out"
            )
        self.config = config
        count = outputs.sizes[0]
        self.projection = nn.Linear(dim, config.projection_dim)
        self.queue = VectorQueue(config.queue, config.projection_dim)
        self.register_buffer("corners", simplex_centers(count, config.projection_dim))
        self.register_buffer("means", torch.zeros(count, config.projection_dim))
        self.register_buffer("assigned", torch.arange(count))

    @property
    def centers(self) -> Float[Tensor, "classes dim"]:
        """The center of each class."""
        return self.corners[self.assigned]

    def forward(self, vectors: Float[Tensor, "batch dim"], classes: Int[Tensor, " batch"]) -> Loss:
        """Compute both terms, weighted, and let the vectors wait for `after_update`."""
        config = self.config
        projected = F.normalize(self.projection(vectors).float(), dim=1)
        to_centers = center_losses(
            projected, classes, self.centers, temperature=config.temperature
        ).mean()
        contrast = supervised_contrast(
            projected, classes, self.queue.entries, self.queue.recordings,
            temperature=config.temperature,
        ).mean()  # fmt: skip
        self.queue.add(projected, classes)
        total = config.weight * (contrast + config.center_weight * to_centers)
        metrics = {"class_contrast": contrast.detach(), "center_loss": to_centers.detach()}
        return Loss(total, float(len(vectors)), metrics)

    @torch.no_grad()
    def after_update(self) -> None:
        """Take in the vectors of all ranks, and deal the centers anew."""
        vectors, classes = self.queue.advance()
        sums = torch.zeros_like(self.means).index_add_(0, classes, vectors)
        counts = torch.bincount(classes, minlength=len(self.means))[:, None]
        new = sums / counts.clamp(min=1)
        # The first mean of a class stands for itself.
        kept = torch.where(self.means.any(dim=1, keepdim=True), self.config.momentum, 0.0)
        self.means.copy_(torch.where(counts > 0, torch.lerp(new, self.means, kept), self.means))
        self.assigned.copy_(assigned_centers(self.means, self.corners))
