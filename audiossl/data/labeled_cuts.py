"""Labeled cuts: batches of waveforms with what is said or what sounds in them, for fine-tuning.

A batch is a function of (seed, epoch, number), as all batches are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from audiossl.batches import LabelBatch
from audiossl.configs import Nonnegative, Positive
from audiossl.data.corpus import Corpus
from audiossl.data.layout import SAMPLE_RATE
from audiossl.data.plan import Plan, PlanConfig, Position
from audiossl.errors import UserError, did_you_mean
from audiossl.nn.padding import padded


@dataclass(frozen=True, kw_only=True)
class LabeledConfig:
    """Cuts to train on, and the label that is predicted."""

    label: str
    """Name of the label: text, tags, category, ...; several joined by "+" (action+object) are
    predicted together."""
    where: dict[str, list[str]] = field(default_factory=dict)
    """Labels and their values of the cuts that take part; all cuts if empty."""
    separator: str = "|"
    """Separator of the tags of a cut that has several."""
    min_duration: Nonnegative = 0.2
    """Minimum duration of a cut in seconds; shorter cuts are left out."""
    max_duration: Positive = 40.0
    """Maximum duration of a cut in seconds; longer cuts are left out."""
    unlabeled: bool = False
    """Whether cuts without the label take part, for `method.consistency`."""


class LabeledCuts:
    """The cuts of a corpus that have a label, or all cuts, and the label of each."""

    def __init__(self, folder: str | Path, config: LabeledConfig) -> None:
        """Find them.

        Raises:
            UserError: There are none.
        """
        folder = Path(folder)
        self.corpus, self.config = Corpus(folder), config
        chosen = set(self.corpus.select(config.where).tolist())
        seconds = self.corpus.num_samples / SAMPLE_RATE
        cuts, labels, known = [], [], set[str]()
        for index, labels_of_cut in enumerate(self.corpus.labels()):
            known.update(labels_of_cut)
            values = tuple(labels_of_cut.get(name, "") for name in config.label.split("+"))
            long_enough = config.min_duration <= seconds[index] <= config.max_duration
            if index in chosen and (all(values) or config.unlabeled) and long_enough:
                cuts.append(index)
                labels.append(values)
        if not any(map(all, labels)):
            raise UserError(
                f"{folder}: no cut of {config.min_duration} to {config.max_duration} s has label "
                f"{config.label!r}{f' where {config.where}' if config.where else ''}"
                f"{did_you_mean(config.label, known - {config.label})}"
            )
        self.cuts: Int[np.ndarray, " cuts"] = np.array(cuts)
        self.labels: list[tuple[str, ...]] = labels
        """Values of the labels of each cut; of a cut without one an empty one."""

    @property
    def lengths(self) -> Int[np.ndarray, " cuts"]:
        """Samples of each cut."""
        return self.corpus.num_samples[self.cuts].astype(np.int64)

    def waveforms(self, items: Sequence[int], width: int) -> Float[Tensor, "rows width"]:
        """Read cuts, padded to `width` samples."""
        return padded((self.corpus.waveform(int(self.cuts[item])) for item in items), width)[0]

    def in_order(self, batch_duration: float) -> Iterator[list[int]]:
        """Put all cuts into batches once, like lengths together: for evaluation."""
        order = np.argsort(-self.lengths, kind="stable").tolist()
        while order:
            longest = int(self.lengths[order[0]])
            count = max(1, int(batch_duration * SAMPLE_RATE / longest))
            yield order[:count]
            order = order[count:]


class LabelSource:
    """A `BatchSource` of cuts with the numbers that their labels stand for."""

    def __init__(self, cuts: LabeledCuts, targets: Sequence[np.ndarray], plan: PlanConfig) -> None:
        """Prepare to read.

        Args:
            cuts: Cuts with labels.
            targets: Numbers of each cut; those of a cut without a label count as unknown.
            plan: How cuts are put into batches.
        """
        self.cuts, self.targets = cuts, targets
        self.plan = Plan(cuts.lengths, SAMPLE_RATE, plan)

    def load(self, position: Position, rank: int = 0, world_size: int = 1) -> LabelBatch:
        """Read a rank's share of the batch at `position`."""
        items, width = self.share(position, rank, world_size)
        return self.batch(items, width)

    def batch(self, items: Sequence[int], width: int) -> LabelBatch:
        """Read cuts, padded to `width` samples."""
        targets, counts = padded(self.targets[item] for item in items)
        labeled = torch.tensor([all(self.cuts.labels[item]) for item in items])
        counts = counts.where(labeled, -1)
        lengths = torch.from_numpy(self.cuts.lengths[list(items)])
        return LabelBatch(self.cuts.waveforms(items, width), lengths, targets, counts)

    def share(self, position: Position, rank: int, world_size: int) -> tuple[list[int], int]:
        """Find a rank's cuts of a batch, and the padded length of all."""
        batches = self.plan.epoch(position.epoch)
        whole = batches.cuts(position.batch)
        width = int(self.plan.padded[batches.buckets[position.batch]])
        return np.array_split(whole, world_size)[rank].tolist(), width
