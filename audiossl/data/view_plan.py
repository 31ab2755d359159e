"""Segments of recordings, and their order in training on pairs: equal shares, batches of one kind.

A corpus of mixed domains gives most of its batches to the largest, and negatives from other domains
are told apart by their channel alone. Two settings mend it: values of one label (domains) get equal
shares of every epoch, and each batch is of one value of a label (a domain, a source of recordings).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from audiossl.data.corpus import Corpus
from audiossl.data.layout import SAMPLE_RATE
from audiossl.data.mixture import MixturePlan
from audiossl.data.plan import Plan, PlanConfig
from audiossl.errors import UserError, did_you_mean

Numbers = Int[np.ndarray, " segments"]


class ViewPlan(MixturePlan):
    """Batches of segments; without settings those of `Plan`."""

    def __init__(
        self,
        lengths: Numbers,
        config: PlanConfig,
        *,
        balance: Numbers | None = None,
        apart: Numbers | None = None,
    ) -> None:
        """Choose shares and kinds of batches.

        Args:
            lengths: Samples of each segment.
            config: `batch_size` pairs a batch.
            balance: Value of each segment, by number from 0; each has an equal share of an epoch.
            apart: Value of each segment, by number from 0; each batch is of one. Values with fewer
                segments than a batch share batches.

        Raises:
            UserError: There are no segments, or the plan is of batches of several lengths.
        """
        values = np.zeros(len(lengths), np.int64) if balance is None else balance
        self.by_value = np.argsort(values, kind="stable")
        counts = np.bincount(values)
        parts = np.split(lengths[self.by_value], np.cumsum(counts)[:-1])
        super().__init__(parts, [1.0] * len(parts), SAMPLE_RATE, config)
        if config.batch_size is None or config.num_buckets != 1:
            raise UserError("crops are all of one length: set batch_size, and num_buckets to 1")
        self.balanced = balance is not None
        self.weights: Float[np.ndarray, " segments"] = 1.0 / counts[values]
        if apart is not None:
            self._set_apart(apart, config.batch_size)

    def draw(self, epoch: int, generator: np.random.Generator) -> Int[np.ndarray, " drawn"]:
        """Draw the segments of an epoch, in random order."""
        if not self.balanced:
            return Plan.draw(self, epoch, generator)
        return self.by_value[super().draw(epoch, generator)]

    def like(self, segment: int) -> Numbers:
        """Number the segments that may be in one batch with a segment."""
        return np.flatnonzero(self.bucket_of == self.bucket_of[segment])

    def _set_apart(self, values: Numbers, batch_size: int) -> None:
        """Make a bucket of each value, and one of those with fewer segments than a batch."""
        few = np.bincount(values) < batch_size
        buckets = np.unique(np.where(few[values], -1, values), return_inverse=True)[1]
        self.bucket_of = buckets.astype(np.int16)
        self.padded = np.full(buckets.max() + 1, self.padded.max())
        self.batch_sizes = np.full(len(self.padded), batch_size)


def cut_segments(
    corpus: Corpus, chosen: Int[np.ndarray, " cuts"], length: int | None, hop: int | None
) -> tuple[Numbers, Numbers, Numbers]:
    """Cut recordings into whole segments; a shorter one is a segment of its own.

    Args:
        corpus: The recordings.
        chosen: Which of them.
        length: Samples of a segment; None: the whole recording.
        hop: Samples from one segment to the next; None: its length.

    Returns:
        Cut, first sample and length of each segment.
    """
    if length is None:
        return chosen, np.zeros(len(chosen), np.int64), corpus.num_samples[chosen].astype(np.int64)
    hop = hop or length
    counts = np.maximum((corpus.num_samples[chosen] - length) // hop + 1, 1)
    cuts = np.repeat(chosen, counts)
    starts = (np.arange(len(cuts)) - np.repeat(np.cumsum(counts) - counts, counts)) * hop
    return cuts, starts, np.minimum(corpus.num_samples[cuts] - starts, length)


def crop_sizes(
    lengths: Numbers, crop: int, step: int, treatment: str
) -> tuple[Numbers, Bool[np.ndarray, " segments"]]:
    """Count the samples of each segment that crops of it have, and say which segments take part.

    Args:
        lengths: Samples of each segment.
        crop: Samples of a crop.
        step: Granularity of offsets.
        treatment: Of segments without room for two different crops: pad, shorten or leave_out.

    Raises:
        UserError: All would be left out.
    """
    short = (lengths - crop) // step <= 1
    sizes = np.minimum(lengths, crop)
    if treatment == "shorten":
        return np.where(short, np.minimum(crop, lengths * 3 // 4), sizes), lengths > 0
    if treatment != "leave_out":
        return sizes, lengths > 0
    if short.all():
        raise UserError(
            f"short_cuts leave_out: none of {len(short)} segments has room for two different "
            f"crops of {crop} samples: lower crop_samples, or shorten"
        )
    return sizes, ~short


def values_of(corpus: Corpus, cuts: Numbers, label: str, setting: str) -> Numbers:
    """Number the values of a label, cut by cut.

    Args:
        corpus: The cuts, with their labels.
        cuts: Which ones, in any order and any number of times.
        label: Name of the label.
        setting: Name of the setting that asks for it, for messages.

    Raises:
        UserError: A cut lacks the label.
    """
    return np.unique(texts_of(corpus, cuts, label, setting), return_inverse=True)[1]


def texts_of(corpus: Corpus, cuts: Numbers, label: str, setting: str) -> Sequence[str]:
    """Read a label of cuts; see `values_of`."""
    wanted = set(cuts.tolist())
    texts: dict[int, str] = {}
    for index, labels in enumerate(corpus.labels()):
        if index in wanted:
            if label not in labels:
                raise UserError(
                    f"{setting}: cut {labels['id']} has no label {label!r}"
                    f"{did_you_mean(label, labels)} (it has {', '.join(sorted(labels))}): name "
                    "one that all cuts have"
                )
            texts[index] = labels[label]
    return [texts[cut] for cut in cuts.tolist()]
