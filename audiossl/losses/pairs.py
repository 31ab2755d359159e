"""Losses of pairs among the candidates of all ranks, in memory of batch x chunk.

A pair is an anchor and a positive, or an anchor whose positive is absent: its target is then the
null target, the mean of the absent positives (see `source_association`). Candidates of all ranks
are gathered and scored in chunks (see `contrast`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from audiossl import distributed
from audiossl.errors import UserError
from audiossl.losses.contrast import (
    decoupled,
    decoupling_weights,
    largest_negatives,
    log_negatives,
)
from audiossl.losses.source_association import null_target
from audiossl.losses.uniformity import decoupled_uniformity, gaussian_kernel, smoothed
from audiossl.nn.similarity import Similarity

PairLoss = Callable[[Float[Tensor, " batch"], Float[Tensor, " batch"]], Float[Tensor, " batch"]]
"""(scores of positives, log sum exp of negatives) -> one value an anchor."""


@dataclass(frozen=True)
class Pairs:
    """Pairs of this rank, and through `distributed.gather` those of all."""

    anchors: Float[Tensor, "batch dim"]
    positives: Float[Tensor, "batch dim"]
    """Positive of each anchor; what stands for an absent one counts in the null target alone."""
    active: Bool[Tensor, " batch"] | None
    """False where the positive is absent; None where all of all ranks are there, which costs no
    null target, and no wait of a device for what is absent."""
    groups: Int[Tensor, " batch"]
    """Pairs of one group are no negatives of each other; numbered alike on all ranks."""
    similarity: Similarity
    temperature: float
    priors: Float[Tensor, "batch prior_dim"] | None = None
    """Prior vector of each pair, for kernels."""
    queue: Float[Tensor, "entries dim"] | None = None
    """Positives of earlier batches, negatives of all anchors; alike on all ranks."""
    queue_groups: Int[Tensor, " entries"] | None = None
    """Group of each of them."""

    @cached_property
    def all_active(self) -> Bool[Tensor, " whole"] | None:
        """Whether the positive of each pair of all ranks is there; None: all are."""
        return None if self.active is None else distributed.gather(self.active)

    @cached_property
    def all_groups(self) -> Int[Tensor, " whole"]:
        """Groups of the pairs of all ranks."""
        return distributed.gather(self.groups)

    @cached_property
    def all_positives(self) -> Float[Tensor, "whole dim"]:
        """Positives of all ranks."""
        return distributed.gather(self.positives)

    @cached_property
    def null(self) -> Float[Tensor, "1 dim"]:
        """Key of the null target, where positives may be absent."""
        assert self.all_active is not None
        return self.similarity.keys(null_target(self.all_positives, self.all_active)[None])

    @cached_property
    def own_keys(self) -> Float[Tensor, "batch dim"]:
        """Keys of the positives of this rank."""
        return self.similarity.keys(self.positives)

    @cached_property
    def targets(self) -> Float[Tensor, "batch dim"]:
        """Key that each anchor looks for."""
        if self.active is None:
            return self.own_keys
        return torch.where(self.active[:, None], self.own_keys, self.null)

    @cached_property
    def queries(self) -> Float[Tensor, "batch dim"]:
        """Anchors, mapped so that products with keys are scores."""
        return self.similarity.queries(self.anchors, self.temperature)

    @cached_property
    def keys(self) -> Float[Tensor, "candidates dim"]:
        """Positives of all ranks that are there, and those of earlier batches."""
        keys = distributed.gather(self.own_keys)
        if self.all_active is not None:
            keys = keys[self.all_active]
        return keys if self.queue is None else torch.cat([keys, self.similarity.keys(self.queue)])

    def with_queue(
        self, groups: Int[Tensor, " whole"], of_queue: Int[Tensor, " entries"] | None
    ) -> Int[Tensor, " candidates"]:
        """Choose groups of `keys` from those of the positives of all ranks, and of the queue."""
        present = groups if self.all_active is None else groups[self.all_active]
        return present if of_queue is None else torch.cat([present, of_queue])

    @property
    def accuracy(self) -> Float[Tensor, ""]:
        """Share of anchors whose target scores highest of all."""
        with torch.no_grad():
            rows = torch.arange(len(self.all_groups), device=self.groups.device)
            own = distributed.own_rows(rows)
            no_row = None if self.queue is None else torch.full((len(self.queue),), -1).to(rows)
            best = largest_negatives(self.queries, self.keys, own, self.with_queue(rows, no_row))
            if self.sees_null is not None:
                nulls = (self.queries @ self.null.T)[:, 0]
                best = torch.where(self.sees_null, torch.maximum(best, nulls), best)
            return ((self.queries * self.targets).sum(dim=1) > best).float().mean()

    @property
    def sees_null(self) -> Bool[Tensor, " batch"] | None:
        """Whether the null target is a negative: for active pairs, if others are not."""
        if self.active is None or self.all_active is None:
            return None
        return self.active & ~self.all_active.all()

    def check_groups(self, loss: str) -> None:
        """Refuse a batch without negatives, for losses that would reward anything then.

        Raises:
            UserError: All pairs are of one group.
        """
        if bool((self.all_groups == self.all_groups[0]).all()):
            raise UserError(
                f"loss {loss}: a batch of {len(self.all_groups)} pairs is of one recording and has "
                "no negatives: give a larger batch_size (or less loop.accumulate), more "
                "recordings, or loss info_nce"
            )


def one_way(pairs: Pairs, loss: PairLoss) -> Float[Tensor, ""]:
    """Average a loss over anchors, whose candidates are the positives: COLA's direction.

    Example:
        >>> from audiossl.losses.contrast import cross_entropy
        >>> from audiossl.nn.similarity import CosineSimilarity
        >>> views = Pairs(
        ...     torch.eye(2), torch.eye(2), None, torch.arange(2), CosineSimilarity(), 0.5
        ... )
        >>> round(float(one_way(views, cross_entropy)), 4)  # ln(1 + exp(-2))
        0.1269
    """
    groups = pairs.with_queue(pairs.all_groups, pairs.queue_groups)
    return loss(*_scores(pairs, pairs.queries, pairs.targets, pairs.keys, groups)).mean()


def both_ways(pairs: Pairs, loss: PairLoss) -> Float[Tensor, ""]:
    """Average a loss over pairs, both sides of which are anchors, and candidates: SimCLR's.

    The anchor whose positive is absent is the only one of its pair.
    """
    of_anchors = pairs.similarity.keys(pairs.anchors)
    keys = torch.cat([pairs.keys, distributed.gather(of_anchors)])
    candidates = pairs.with_queue(pairs.all_groups, pairs.queue_groups)
    groups = torch.cat([candidates, pairs.all_groups])
    queries = torch.cat(
        [pairs.queries, pairs.similarity.queries(pairs.positives, pairs.temperature)]
    )
    targets = torch.cat([pairs.targets, of_anchors])
    scores = (each.chunk(2) for each in _scores(pairs, queries, targets, keys, groups))
    first, second = (loss(*side) for side in zip(*scores, strict=True))
    both = (first + second) / 2
    return (both if pairs.active is None else torch.where(pairs.active, both, first)).mean()


def _scores(
    pairs: Pairs,
    queries: Float[Tensor, "anchors dim"],
    targets: Float[Tensor, "anchors dim"],
    keys: Float[Tensor, "candidates dim"],
    groups: Int[Tensor, " candidates"],
) -> tuple[Float[Tensor, " anchors"], Float[Tensor, " anchors"]]:
    """Score targets, and sum up negatives: keys of other groups, and the null target.

    Anchors are those of the pairs, or of both sides of the pairs.
    """
    sides = len(queries) // len(pairs.groups)
    negatives = log_negatives(queries, keys, pairs.groups.repeat(sides), groups)
    if pairs.sees_null is not None:
        with_null = torch.logaddexp(negatives, (queries @ pairs.null.T)[:, 0])
        negatives = torch.where(pairs.sees_null.repeat(sides), with_null, negatives)
    return (queries * targets).sum(dim=1), negatives


def decoupled_loss(pairs: Pairs, sigma: float | None) -> PairLoss:
    """Make the decoupled loss, in which anchors without a negative count 0.

    Args:
        pairs: Of unit vectors, if there are weights.
        sigma: Scale of the weights of DCLW; None gives DCL.
    """
    weights: Tensor | float = 1.0
    if sigma is not None:
        cosines = (pairs.similarity.keys(pairs.anchors) * pairs.targets).sum(dim=1).detach()
        weights = distributed.own_rows(decoupling_weights(distributed.gather(cosines), sigma))

    def loss(positives: Tensor, negatives: Tensor) -> Tensor:
        alone = negatives.isinf()
        losses = decoupled(positives, negatives.masked_fill(alone, 0.0), weights)
        return losses.masked_fill(alone, 0.0)

    return loss


def uniformity(
    pairs: Pairs, scale: float, kernel: tuple[float | None, float] | None = None
) -> Float[Tensor, ""]:
    """Spread the centroids of the pairs of all ranks; an absent positive is the null target.

    Args:
        pairs: With priors, if there is a kernel.
        scale: Multiplies squared distances.
        kernel: Width and ridge of the kernel of priors that centroids are smoothed by first.
    """
    centroids = (pairs.similarity.keys(pairs.anchors) + pairs.targets) / 2
    centroids = distributed.gather(centroids)
    if kernel is not None:
        assert pairs.priors is not None
        width, ridge = kernel
        similar = gaussian_kernel(distributed.gather(pairs.priors), width)
        centroids = smoothed(centroids, similar, ridge)
    return decoupled_uniformity(centroids, scale, pairs.all_groups)
