"""Weighted mixtures: how many cuts of which corpus make an epoch, as a pure function of its number.

Shares are exact, not drawn: every epoch has as many cuts of each corpus as its weight says, to the
nearest whole cut. Within a corpus, cuts follow one permutation after another, across epochs, so
that no cut comes a second time before all others came once, however small its corpus' share is.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from audiossl.data.plan import Plan, PlanConfig
from audiossl.errors import UserError


class MixturePlan(Plan):
    """Batches of several corpora; cuts are numbered through, corpus after corpus."""

    def __init__(
        self,
        num_samples: Sequence[Int[np.ndarray, " _"]],
        weights: Sequence[float],
        sample_rate: int,
        config: PlanConfig,
    ) -> None:
        """Choose buckets and shares.

        Args:
            num_samples: Length of each cut, for every corpus.
            weights: What part of the cuts of an epoch is of each corpus, relative to the others.
            sample_rate: In Hz.
            config: How cuts are put into batches.

        Raises:
            UserError: A corpus is empty, or a weight is no positive number.
        """
        if not all(math.isfinite(weight) and weight > 0 for weight in weights):
            raise UserError(f"weights of corpora must be above 0: {[float(w) for w in weights]}")
        super().__init__(np.concatenate([*num_samples]), sample_rate, config)
        self.sizes = np.array([len(lengths) for lengths in num_samples])
        self.firsts = np.concatenate([[0], np.cumsum(self.sizes)[:-1]])
        self.shares: Float[np.ndarray, " corpora"] = np.array(weights) / sum(weights)
        # With weights like the sizes, an epoch has every cut once.
        self.epoch_size = int(self.sizes.sum())

    def counts(self, epoch: int) -> Int[np.ndarray, " corpora"]:
        """Count the cuts of each corpus in an epoch."""
        return self._drawn_before(epoch + 1) - self._drawn_before(epoch)

    def draw(self, epoch: int, generator: np.random.Generator) -> Int[np.ndarray, " drawn"]:
        """Draw the cuts of an epoch, in random order."""
        before = self._drawn_before(epoch)
        drawn = [
            first + self._next(corpus, int(start), int(count))
            for corpus, (first, start, count) in enumerate(
                zip(self.firsts, before, self.counts(epoch), strict=True)
            )
        ]
        return generator.permutation(np.concatenate(drawn)).astype(np.int64)

    def _drawn_before(self, epoch: int) -> Int[np.ndarray, " corpora"]:
        # What rounding takes from one epoch it gives to a later one.
        return np.floor(self.shares * self.epoch_size * epoch + 0.5).astype(np.int64)

    def _next(self, corpus: int, start: int, count: int) -> Int[np.ndarray, " count"]:
        """Go on at place `start` in the endless row of permutations of a corpus."""
        size = int(self.sizes[corpus])
        rounds = range(start // size, -(-(start + count) // size))
        cuts = [self._permutation(corpus, size, number) for number in rounds]
        whole = np.concatenate([np.zeros(0, np.int64), *cuts])
        return whole[start % size : start % size + count]

    def _permutation(self, corpus: int, size: int, number: int) -> Int[np.ndarray, " size"]:
        seeds = np.random.SeedSequence([self.config.seed, corpus, number])
        return np.random.default_rng(seeds).permutation(size).astype(np.int64)
