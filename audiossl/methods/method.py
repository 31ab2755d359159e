"""What every method is: a module whose forward pass is a training step's loss."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from audiossl.batches import DataFacts
from audiossl.losses.info_nce import without_excluded
from audiossl.models.encoder import Context


@dataclass(frozen=True)
class Losses:
    """What one forward pass of a method is worth."""

    total: Float[Tensor, ""]
    """Mean over this rank's items; what is minimized."""
    weight: float = 1.0
    """Number of items (pairs, frames) that `total` is a mean of; ranks and accumulated batches are
    averaged with it, so that splitting a batch changes nothing. 0 where nothing counts, with a
    `total` of 0."""
    metrics: Mapping[str, Float[Tensor, "*figures"]] = field(default_factory=dict)
    """Named figures for the log, detached, the same names in every batch: means over the items, or
    vectors of such, one a codebook, say. NaN where a batch has nothing of the kind."""
    metric_weights: Mapping[str, Float[Tensor, ""]] = field(default_factory=dict)
    """Number of items a metric is a mean of, where that is another number than `weight`."""
    headlines: tuple[str, ...] | None = None
    """Metrics of log lines; None: all. Records have all of them."""


# Where parameters are sharded, hooks look for `total` in what a forward pass returns.
torch.export.register_dataclass(Losses)


@dataclass(frozen=True)
class Scores:
    """Anchors of a batch against candidates.

    Example:
        >>> Scores(torch.tensor([[0.9, 0.1], [0.6, 0.2]]), torch.tensor([0, 1])).accuracy
        tensor(0.5000)
    """

    values: Float[Tensor, "batch candidates"]
    """Similarity; minus infinity for what is no candidate."""
    targets: Int[Tensor, " batch"]
    """Column of each anchor's target: its positive or, for an absent source, the null target."""
    excluded: Bool[Tensor, "batch candidates"] | None = None
    """Pairs that are no negatives."""

    @property
    def accuracy(self) -> Float[Tensor, ""]:
        """Share of anchors whose target scores highest of all."""
        return (self.values.detach().argmax(dim=1) == self.targets).float().mean()

    @property
    def softmax_values(self) -> Float[Tensor, "batch candidates"]:
        """Similarity, minus infinity for excluded pairs, too, other than the targets."""
        return without_excluded(self.values, self.targets, self.excluded)


@runtime_checkable
class Method(Protocol):
    """An encoder, the heads it needs in training, and a loss, as one module.

    It is made from `(encoder, config, data)`: a `FeatureEncoder`, the dataclass of its settings
    (`Config`, with a field `kind`), and `DataFacts`.

    `encoder` is what is exported at the end. Random draws come from `generator`, which every rank
    has seeded alike by (seed, step), and which begins anew in each micro-batch: draw for the rows
    of all ranks and micro-batches and keep your own (`distributed.draw_rows`), and the masks of one
    process and several, of a batch whole and in micro-batches, are the same.
    """

    encoder: nn.Module

    def __call__(self, batch: Any, step: int, generator: torch.Generator) -> Losses:
        """Compute the losses of one batch at optimizer step `step`, counted from 0."""
        ...


@runtime_checkable
class ContrastsBatch(Protocol):
    """A method whose loss compares the vectors of a whole batch, and is no mean over its items.

    `forward` is `contrast` of `vectors`. With both, micro-batches are contrasted as one batch: they
    are encoded once for the gradient with respect to their vectors, and again to send it on.
    """

    def vectors(
        self, batch: Any, step: int, generator: torch.Generator
    ) -> Float[Tensor, "rows *dims"]:
        """Encode a batch, or a micro-batch, to rows whose order is that of its items."""
        ...

    def contrast(self, vectors: Float[Tensor, "rows *dims"], batch: Any, step: int) -> Losses:
        """Compute the losses of the vectors of a whole batch.

        `batch` is on the device it was loaded on; what is needed of it goes to that of `vectors`.
        """
        ...


@runtime_checkable
class AfterUpdate(Protocol):
    """A method with state that is no parameter: moving averages, codebooks, queues."""

    def after_update(self) -> None:
        """Bring that state up to date; called once after every update of the parameters."""
        ...


@runtime_checkable
class ScoresPairs(Protocol):
    """A method of pairs, which can say how well each of a batch is recognized."""

    def score_pairs(self, batch: Any, context: Context) -> Scores:
        """Score every anchor against every candidate, as training does."""
        ...


SCHEDULED_SECONDS = 1e5 * 600
"""Seconds of audio after which every schedule has come to its end; the authors of SPEAR add them to
those that fine-tuning takes."""


def context_of(step: int, data: DataFacts, generator: torch.Generator) -> Context:
    """Say where training stands at a step."""
    return Context(step, step * data.seconds_per_step, generator)


def finetuning_context(step: int, generator: torch.Generator) -> Context:
    """Say where fine-tuning stands at a step: behind the end of every schedule."""
    return Context(step, SCHEDULED_SECONDS, generator)
