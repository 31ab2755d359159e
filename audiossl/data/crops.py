"""Batches of crops at random: fixed shares of domains, and few lengths, so that shapes are static.

There are no epochs: what batch n holds is drawn from (seed, n). A batch has one length of crops and
as many of them as fill its duration; each domain has its share of the rows, and within a domain
cuts are drawn by a power of their duration, so that neither a long recording nor thousands of
short clips are all that is seen. A cut of less than half the length of the crops takes part only in
batches of shorter ones; what is missing of a shorter cut is padding.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from audiossl.batches import CropBatch, DataFacts
from audiossl.configs import Count, Positive, Share
from audiossl.data.corpus import Corpus
from audiossl.data.layout import RECORDING, SAMPLE_RATE
from audiossl.data.plan import Position
from audiossl.data.teacher_targets import Excerpt, TeacherTargets
from audiossl.errors import UserError
from audiossl.nn.padding import padded

Rows = Int[np.ndarray, " batch"]


@dataclass(frozen=True, kw_only=True)
class CropsConfig:
    """What is cropped from where."""

    shares: dict[str, Positive]
    """Share of each domain in the rows of a batch: {speech: 0.4, music: 0.6}."""
    label: str = "domain"
    """Label that names the domain of a cut."""
    lengths: tuple[Positive, ...] = (1.0, 2.0, 4.0, 8.0)
    """Durations of crops in seconds; each batch has one of them, drawn evenly."""
    batch_duration: Positive = 512.0
    """Seconds of audio in a global batch, padding included."""
    multiple: Count = 1
    """Divisor of all batch sizes, for ranks and micro-batches to share them evenly."""
    duration_power: Share = 0.5
    """Exponent of the duration in a cut's sampling weight: 0, each cut alike; 1, each second
    alike."""

    def __post_init__(self) -> None:
        """Check what values alone can tell.

        Raises:
            UserError: A value makes no sense.
        """
        if not self.shares or min(self.shares.values()) <= 0:
            raise UserError(f"shares {self.shares}: give each domain a share above 0")
        if not self.lengths or min(self.lengths) <= 0:
            raise UserError(f"lengths {list(self.lengths)}: give seconds above 0")


class CropPlan:
    """The crops of each batch: a function of (seed, number)."""

    size_setting = "crops.multiple"

    def __init__(
        self,
        num_samples: Int[np.ndarray, " cuts"],
        domains: Int[np.ndarray, " cuts"],
        config: CropsConfig,
        seed: int,
    ) -> None:
        """Find the cuts of each domain that a batch of each length draws from.

        Args:
            num_samples: Of each cut.
            domains: Number of each cut's domain, in the order of `config.shares`; -1 for none.
            config: Lengths and shares.
            seed: Of all draws.

        Raises:
            UserError: A domain has no cuts.
        """
        self.num_samples, self.seed = num_samples, seed
        self.widths = [round(length * SAMPLE_RATE) for length in sorted(config.lengths)]
        rows = config.batch_duration * SAMPLE_RATE / np.array(self.widths) / config.multiple
        self.batch_sizes = np.maximum(rows.astype(np.int64), 1) * config.multiple
        self.rows = [_shared(int(size), config.shares) for size in self.batch_sizes]
        self.pools = [
            [self._pool(domains == number, name, width, config.duration_power)
             for number, name in enumerate(config.shares)]
            for width in self.widths
        ]  # fmt: skip

    def positions(self, start: Position) -> Iterator[Position]:
        """Go on from `start` forever."""
        while True:
            yield start
            start = self.next(start)

    def next(self, position: Position) -> Position:
        """Step over one batch."""
        return Position(0, position.batch + 1)

    def draw(self, number: int) -> tuple[int, Rows, Rows, Rows]:
        """Draw batch `number`: samples of a crop, and of each crop its cut, start and domain."""
        generator = np.random.Generator(np.random.Philox(key=[self.seed, number]))
        chosen = int(generator.integers(len(self.widths)))
        cuts = [
            generator.choice(pool, rows, p=weights)
            for (pool, weights), rows in zip(self.pools[chosen], self.rows[chosen], strict=True)
        ]
        domains = np.repeat(np.arange(len(cuts)), [len(drawn) for drawn in cuts])
        drawn = np.concatenate(cuts)
        width = self.widths[chosen]
        room = np.maximum(self.num_samples[drawn] - width, 0)
        starts = (generator.random(len(drawn)) * (room + 1)).astype(np.int64)
        # Ranks and accumulated parts take rows in turn: each should have all domains.
        order = generator.permutation(len(drawn))
        return width, drawn[order], starts[order], domains[order]

    def _pool(
        self, chosen: np.ndarray, name: str, width: int, power: float
    ) -> tuple[Int[np.ndarray, " some"], Float[np.ndarray, " some"]]:
        cuts = np.flatnonzero(chosen)
        if not len(cuts):
            raise UserError(f"no cut is of domain {name!r}: leave it out of the shares")
        if width > self.widths[0]:
            long_enough = cuts[self.num_samples[cuts] >= width / 2]
            # A domain of short clips alone has only them to give.
            cuts = long_enough if len(long_enough) else cuts
        weights = np.minimum(self.num_samples[cuts], self.widths[-1] * 8.0) ** power
        return cuts, weights / weights.sum()


class Crops:
    """Batches of crops from a corpus, or from those excerpts of it that have stored targets."""

    def __init__(
        self,
        corpus: Corpus,
        config: CropsConfig,
        chosen: Int[np.ndarray, " cuts"],
        seed: int,
        targets: Mapping[str, TeacherTargets] | None = None,
    ) -> None:
        """Sort the chosen cuts, or their excerpts, by domain.

        Args:
            corpus: Where waveforms are.
            config: Lengths of crops and shares of domains.
            chosen: The cuts that take part.
            seed: Of all draws.
            targets: Stored targets by name of the teacher; with them crops are of excerpts that
                have targets of at least one.

        Raises:
            UserError: A domain has no cuts.
        """
        self.corpus, self.targets = corpus, targets or {}
        if targets:
            known = {excerpt for stored in targets.values() for excerpt in stored.rows}
            of_chosen = set(chosen.tolist())
            self.excerpts = sorted(excerpt for excerpt in known if excerpt.cut in of_chosen)
        else:
            self.excerpts = [Excerpt(c, 0, int(corpus.num_samples[c])) for c in chosen.tolist()]
        numbers = {name: number for number, name in enumerate(config.shares)}
        of_cut = [numbers.get(labels.get(config.label, ""), -1) for labels in corpus.labels()]
        domains = np.array([of_cut[excerpt.cut] for excerpt in self.excerpts])
        num_samples = np.array([excerpt.num_samples for excerpt in self.excerpts])
        self.plan = CropPlan(num_samples, domains, config, seed)
        self.facts = DataFacts(
            seconds_per_step=config.batch_duration,
            domains=tuple(config.shares),
            stored={name: stored.facts for name, stored in self.targets.items()},
        )

    def load(self, position: Position, rank: int = 0, world_size: int = 1) -> CropBatch:
        """Read a rank's share of the batch at `position`."""
        width, drawn, starts, domains = self.plan.draw(position.batch)
        rows = np.array_split(np.arange(len(drawn)), world_size)[rank]
        waveforms = np.zeros((len(rows), width), np.float32)
        lengths = np.minimum(self.plan.num_samples[drawn[rows]], width)
        excerpts = [self.excerpts[row] for row in drawn[rows].tolist()]
        for waveform, excerpt, start, length in zip(
            waveforms, excerpts, starts[rows].tolist(), lengths.tolist(), strict=True
        ):
            first = excerpt.start + start
            waveform[:length] = self.corpus.waveform(excerpt.cut, RECORDING, first, length)
        batch = CropBatch(
            waveforms=torch.from_numpy(waveforms),
            lengths=torch.from_numpy(lengths),
            domains=torch.from_numpy(domains[rows]),
        )
        offsets = torch.from_numpy(starts[rows] / SAMPLE_RATE).float()
        return self._with_targets(batch, excerpts, offsets) if self.targets else batch

    def _with_targets(
        self, batch: CropBatch, excerpts: Sequence[Excerpt], offsets: Float[Tensor, " batch"]
    ) -> CropBatch:
        frames, counts = {}, {}
        for name, stored in self.targets.items():
            rows = (stored.frames(excerpt) for excerpt in excerpts)
            none = np.zeros((0, stored.facts.dim), np.float16)
            frames[name], counts[name] = padded((none if r is None else r for r in rows), 1)
        clips = {
            name: torch.from_numpy(np.stack([stored.clip(excerpt) for excerpt in excerpts]))
            for name, stored in self.targets.items()
            if stored.facts.clip_dim
        }
        return replace(batch, offsets=offsets, frames=frames, frame_counts=counts, clips=clips)


def _shared(rows: int, shares: Mapping[str, float]) -> list[int]:
    """Share rows among domains, none of them without any unless there are too few."""
    edges = np.cumsum([0.0, *shares.values()]) / sum(shares.values()) * rows
    return np.diff(np.rint(edges)).astype(int).tolist()
