"""The order of training: a pure function of (seed, epoch), and a position of two numbers.

Each epoch is one permutation of the cuts, sorted into buckets of like duration; a bucket has one
padded length and one batch size, so that shapes are few and static; batches of all buckets are
shuffled. The plan is of global batches: ranks take their shares of each. Where a run stands is
(epoch, batch), whatever the number of ranks and workers, and to resume is to go there.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from audiossl.configs import Count, Positive, Whole
from audiossl.errors import UserError


@dataclass(frozen=True)
class Position:
    """Where a run stands in its data: the next batch."""

    epoch: int = 0
    batch: int = 0


@dataclass(frozen=True)
class EpochBatches:
    """The batches of one epoch."""

    order: Int[np.ndarray, " slots"]
    """Cuts, batch after batch."""
    starts: Int[np.ndarray, " batches_and_end"]
    """First position of each batch in `order`."""
    buckets: Int[np.ndarray, " batches"]
    """Bucket of each batch."""

    def __len__(self) -> int:
        return len(self.buckets)

    def cuts(self, batch: int) -> Int[np.ndarray, " batch"]:
        """Cuts of a batch, of all ranks."""
        return self.order[self.starts[batch] : self.starts[batch + 1]]


@dataclass(frozen=True, kw_only=True)
class PlanConfig:
    """How cuts are put into batches."""

    seed: Whole = 0
    """Random seed of the permutations."""
    batch_duration: Positive = 600.0
    """Seconds of audio in a global batch, padding included."""
    batch_size: Count | None = None
    """Number of cuts in a global batch, whatever their durations; set, it replaces
    `batch_duration`."""
    num_buckets: Count = 30
    """Number of buckets, each with one padded length."""
    multiple: Count = 1
    """Divisor of all batch sizes, so that as many ranks or micro-batches can share them evenly. It
    belongs to the plan: another number of ranks sees the same batches."""


class Plan:
    """Batches of a corpus whose cuts have `num_samples` each."""

    def __init__(
        self, num_samples: Int[np.ndarray, " cuts"], sample_rate: int, config: PlanConfig
    ) -> None:
        """Choose the buckets.

        Raises:
            UserError: There are no cuts.
        """
        if len(num_samples) == 0:
            raise UserError("there are no cuts to train on: is the corpus empty, or all filtered?")
        self.config, self.sample_rate = config, sample_rate
        samples = np.asarray(num_samples)
        quantiles = np.linspace(0, 1, config.num_buckets + 1)[1:]
        # "higher" takes lengths that occur, so that the longest cut of a bucket is not padded.
        self.padded = np.unique(np.quantile(samples, quantiles, method="higher"))
        self.bucket_of = np.searchsorted(self.padded, samples).astype(np.int16)
        self.batch_sizes = _batch_sizes(self.padded / sample_rate, config)
        self.size_setting = "plan.multiple" if config.batch_size is None else "plan.batch_size"
        self._cached: tuple[int, EpochBatches] | None = None

    @property
    def seconds_per_batch(self) -> float:
        """Mean seconds of audio in a batch, padding included: what schedules count."""
        if self.config.batch_size is None:
            return self.config.batch_duration
        return float(self.padded.mean()) / self.sample_rate * self.config.batch_size

    def epoch(self, epoch: int) -> EpochBatches:
        """Put the cuts into batches; the last epoch asked for is kept."""
        if self._cached is None or self._cached[0] != epoch:
            self._cached = (epoch, self._shuffled(epoch))
        return self._cached[1]

    def next(self, position: Position) -> Position:
        """Step over one batch."""
        if position.batch + 1 < len(self.epoch(position.epoch)):
            return Position(position.epoch, position.batch + 1)
        return Position(position.epoch + 1, 0)

    def positions(self, start: Position) -> Iterator[Position]:
        """Go on from `start` forever."""
        while True:
            yield start
            start = self.next(start)

    def draw(self, epoch: int, generator: np.random.Generator) -> Int[np.ndarray, " drawn"]:  # noqa: ARG002 - mixtures ask for it
        """Draw the cuts of an epoch, in random order: each of them once."""
        return generator.permutation(len(self.bucket_of)).astype(np.int64)

    def _shuffled(self, epoch: int) -> EpochBatches:
        generator = np.random.Generator(np.random.Philox(key=[self.config.seed, epoch]))
        permuted = self.draw(epoch, generator)
        # A stable sort of permuted cuts by bucket leaves each bucket permuted.
        grouped = permuted[np.argsort(self.bucket_of[permuted], kind="stable")]
        counts = np.bincount(self.bucket_of[permuted], minlength=len(self.padded))
        slots = [
            _filled(group, int(size))
            for group, size in zip(
                np.split(grouped, np.cumsum(counts)[:-1]), self.batch_sizes, strict=True
            )
        ]
        batches = [len(group) // size for group, size in zip(slots, self.batch_sizes, strict=True)]
        return _interleaved(slots, np.array(batches), self.batch_sizes, generator)


def _batch_sizes(seconds: np.ndarray, config: PlanConfig) -> Int[np.ndarray, " buckets"]:
    if config.batch_size is not None:
        sizes = np.full(len(seconds), config.batch_size)
        if config.batch_size % config.multiple:
            raise UserError(
                f"batch_size {config.batch_size} is no multiple of {config.multiple}: choose one"
            )
        return sizes
    multiples = np.floor(config.batch_duration / seconds / config.multiple)
    if multiples[-1] < 1:
        raise UserError(
            f"a batch of {config.batch_duration} s has no room for {config.multiple} cuts of "
            f"{seconds[-1]:.2f} s: allow longer batches or drop longer cuts"
        )
    return (multiples * config.multiple).astype(np.int64)


def _filled(group: np.ndarray, size: int) -> np.ndarray:
    """Repeat cuts from the beginning of a bucket's permutation until its last batch is full."""
    return np.resize(group, -(-len(group) // size) * size)


def _interleaved(
    slots: list[np.ndarray], batches: np.ndarray, sizes: np.ndarray, generator: np.random.Generator
) -> EpochBatches:
    """Shuffle the batches of all buckets together."""
    buckets = np.repeat(np.arange(len(batches)), batches)
    first_slot = np.concatenate([[0], np.cumsum(batches * sizes)[:-1]])
    within = np.arange(len(buckets)) - np.repeat(np.cumsum(batches) - batches, batches)
    begins = first_slot[buckets] + within * sizes[buckets]
    shuffled = generator.permutation(len(buckets))
    buckets, begins = buckets[shuffled], begins[shuffled]
    lengths = sizes[buckets]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    gather = np.repeat(begins - starts[:-1], lengths) + np.arange(starts[-1])
    return EpochBatches(np.concatenate(slots)[gather], starts, buckets)
