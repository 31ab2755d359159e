"""Labeled cuts: batches of waveforms with what is said or what sounds in them, for fine-tuning.

A batch is a function of (seed, epoch, number), as all batches are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from audiossl.batches import TagBatch, TextBatch
from audiossl.configs import Nonnegative, Positive
from audiossl.data.corpus import Corpus
from audiossl.data.layout import SAMPLE_RATE
from audiossl.data.plan import Plan, PlanConfig, Position
from audiossl.data.text_units import normalized
from audiossl.errors import UserError
from audiossl.nn.padding import padded


@dataclass(frozen=True, kw_only=True)
class LabeledConfig:
    """Which cuts, and which of their labels."""

    label: str
    """Name of the label: text, tags, category, ..."""
    where: dict[str, list[str]] = field(default_factory=dict)
    """Labels and their values of the cuts that take part; all cuts if empty."""
    separator: str = "|"
    """Separator of the tags of a cut that has several."""
    min_duration: Nonnegative = 0.2
    """Minimum duration of a cut in seconds; shorter cuts are left out."""
    max_duration: Positive = 40.0
    """Maximum duration of a cut in seconds; longer cuts are left out."""


class LabeledCuts:
    """The cuts of a corpus that have a label, and the label of each."""

    def __init__(self, folder: str | Path, config: LabeledConfig) -> None:
        """Find them.

        Raises:
            UserError: There are none.
        """
        folder = Path(folder)
        self.corpus, self.config = Corpus(folder), config
        chosen = set(self.corpus.select(config.where).tolist())
        seconds = self.corpus.num_samples / SAMPLE_RATE
        fits = (seconds >= config.min_duration) & (seconds <= config.max_duration)
        labels = {
            index: own[config.label]
            for index, own in enumerate(self.corpus.labels())
            if index in chosen and own.get(config.label) and fits[index]
        }
        if not labels:
            raise UserError(
                f"{folder}: no cut of {config.min_duration} to {config.max_duration} s has label "
                f"{config.label!r}{f' where {config.where}' if config.where else ''}"
            )
        self.cuts: Int[np.ndarray, " cuts"] = np.array(list(labels))
        self.labels: list[str] = list(labels.values())

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


class Symbols:
    """Characters and their numbers, from 1: 0 is CTC's blank."""

    def __init__(self, characters: str) -> None:
        self.characters = characters
        self.numbers = {character: index + 1 for index, character in enumerate(characters)}

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Symbols":
        """All characters that occur."""
        return cls("".join(sorted(set("".join(map(normalized, texts))))))

    def encode(self, text: str) -> list[int]:
        """Number the characters of a text; those that are unknown are left out."""
        return [self.numbers[c] for c in normalized(text) if c in self.numbers]

    def decode(self, numbers: Sequence[int]) -> str:
        """Spell numbers."""
        return "".join(self.characters[number - 1] for number in numbers)


class TextCuts:
    """A `BatchSource` of cuts with their transcripts."""

    def __init__(self, cuts: LabeledCuts, symbols: Symbols, plan: PlanConfig) -> None:
        self.cuts = cuts
        self.texts = [symbols.encode(label) for label in cuts.labels]
        self.plan = Plan(cuts.lengths, SAMPLE_RATE, plan)

    def load(self, position: Position, rank: int = 0, world_size: int = 1) -> TextBatch:
        """Read a rank's share of the batch at `position`."""
        items, width = _share(self.plan, position, rank, world_size)
        texts = (np.array(self.texts[item], np.int64) for item in items)
        symbols, counts = padded(texts, 1)
        lengths = torch.from_numpy(self.cuts.lengths[items])
        return TextBatch(self.cuts.waveforms(items, width), lengths, symbols, counts)


class TagCuts:
    """A `BatchSource` of cuts with their tags."""

    def __init__(self, cuts: LabeledCuts, tags: Sequence[str], plan: PlanConfig) -> None:
        """Prepare to read.

        Args:
            cuts: Cuts with labels.
            tags: All tags, in order.
            plan: How cuts are put into batches; of an even number of cuts, for mixup.
        """
        self.cuts = cuts
        self.tags = tag_matrix(cuts, tags)
        even = replace(plan, multiple=plan.multiple * (1 + plan.multiple % 2))
        self.plan = Plan(cuts.lengths, SAMPLE_RATE, even)

    def load(self, position: Position, rank: int = 0, world_size: int = 1) -> TagBatch:
        """Read a rank's share of the batch at `position`."""
        items, width = _share(self.plan, position, rank, world_size)
        lengths = torch.from_numpy(self.cuts.lengths[items])
        return TagBatch(self.cuts.waveforms(items, width), lengths, self.tags[items])


def tags_of(cuts: LabeledCuts) -> list[str]:
    """All tags that occur, sorted."""
    return sorted({tag for label in cuts.labels for tag in label.split(cuts.config.separator)})


def tag_matrix(cuts: LabeledCuts, tags: Sequence[str]) -> Float[Tensor, "cuts tags"]:
    """1 where a cut has a tag; tags that are not listed are left out."""
    numbers = {tag: index for index, tag in enumerate(tags)}
    matrix = torch.zeros(len(cuts.labels), len(tags))
    for row, label in zip(matrix, cuts.labels, strict=True):
        for tag in label.split(cuts.config.separator):
            if tag in numbers:
                row[numbers[tag]] = 1.0
    return matrix


def _share(plan: Plan, position: Position, rank: int, world_size: int) -> tuple[list[int], int]:
    """Find a rank's cuts of a batch, and the padded length of all."""
    batches = plan.epoch(position.epoch)
    whole = batches.cuts(position.batch)
    width = int(plan.padded[batches.buckets[position.batch]])
    return np.array_split(whole, world_size)[rank].tolist(), width
