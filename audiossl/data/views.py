"""Views: which crops make an anchor and its positive.

COLA takes two random crops of one recording. Musical source association takes a crop of a mixture
and a crop of one of its stems, from the same segment of a few seconds, at independent offsets:

* the source is drawn once per mini-batch, so that negatives are of the same source (a pair's stem
  could otherwise be distinguished from the others by its kind of instrument);
* a batch is either active (distinct segments in which the source sounds) or mixed (the next
  segments of the epoch's permutation, of which some lack the source);
* whether a source sounds is measured on the segment's own samples of the stem, before leveling, and
  travels as a flag.

A remixed anchor (ours) is the stem among stems of other recordings at random levels: key, tempo and
the rest of the song no longer lead to the positive, only what the source itself sounds like.

Recordings without stems take part through the source "mixture", whose pairs are COLA's.

Sources: Saeed et al. (2021) and Garoufis et al. (2023) with their released code.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from audiossl.audio.presentation import Presentation, level_scale, read_span
from audiossl.batches import DataFacts, ViewBatch
from audiossl.configs import Count, Nonnegative, Share, Whole
from audiossl.data.corpus import Corpus
from audiossl.data.layout import MIXTURE, RECORDING, SAMPLE_RATE
from audiossl.data.plan import Plan, PlanConfig, Position
from audiossl.errors import UserError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class ViewsConfig:
    """What is cropped from where."""

    crop_samples: Count = 16_000
    """Number of samples in a crop."""
    segment_samples: Count | None = None
    """Number of samples in the segment that both crops of a pair are drawn from; null: the whole
    cut."""
    segment_hop: Count | None = None
    """Number of samples from one segment to the next; by default the length of a segment."""
    offset_step: Count = 1
    """Granularity in samples of crop offsets within their segment. The last multiple is drawn only
    where it is the only one, as in the released code of musical source association; COLA's draws
    it, too."""
    level: Literal["l2", "rms", "none"] = "l2"
    """Normalization of each waveform before cropping: to unit L2 norm over the whole cut (both
    papers), to the RMS that unit norm gives one second (independent of duration), or none."""
    sources: dict[str, Nonnegative] = field(default_factory=lambda: {MIXTURE: 1.0})
    """Sources of positives and their weights: "mixture" (COLA) or stems; one source is drawn for a
    batch."""
    silent: bool = False
    """Whether half of the batches are mixed, with segments in which the source is absent."""
    active_dbfs: float = -40.0
    """Threshold in dBFS of the mean magnitude above which a stem is active in a segment; -40 dBFS
    is 0.01."""
    remix: Share = 0.0
    """Share of pairs with a sounding stem whose anchor is not the mixture but that stem among stems
    of other segments and sources, at -6 to 6 dB."""
    guests: Whole = 2
    """Largest number of these other stems; a number up to it is drawn for every pair, so that some
    anchors are the stem alone."""
    per_pair: bool = False
    """Whether the source is drawn for every pair rather than for the batch."""
    leakage: Share = 0.0
    """Ablation: share of the rest of the mixture that is added to each stem, as by a separator that
    leaks."""
    shuffled: bool = False
    """Ablation: whether positives are stems of other segments, drawn at random."""

    def __post_init__(self) -> None:
        """Check what values alone can tell.

        Raises:
            UserError: A value makes no sense.
        """
        if not self.sources or min(self.sources.values()) <= 0:
            raise UserError(
                f"sources {self.sources}: name at least one ({MIXTURE} alone is plain COLA), each "
                "with a weight above 0"
            )
        if self.segment_samples is not None and self.segment_samples < self.crop_samples:
            raise UserError(
                f"segment_samples {self.segment_samples} is less than crop_samples "
                f"{self.crop_samples}: a crop must fit into its segment"
            )
        if not 0.0 <= self.leakage <= 1.0:
            raise UserError(f"leakage {self.leakage} is no share: give 0 to 1")


@dataclass(frozen=True)
class Guest:
    """A stem of another segment in a remixed anchor."""

    source: str
    segment: int
    offset: int
    """Samples from the beginning of the segment."""
    gain: float
    """Factor of its leveled waveform."""


@dataclass(frozen=True)
class Draw:
    """Where the crops of one global batch lie."""

    segments: Int[np.ndarray, " batch"]
    """Segments of the anchors, and, unless stems are shuffled, of the positives."""
    positive_segments: Int[np.ndarray, " batch"]
    anchor_offsets: Int[np.ndarray, " batch"]
    """Samples from the beginning of the segment; negative where a short cut is padded."""
    positive_offsets: Int[np.ndarray, " batch"]
    sources: tuple[str, ...]
    """Source of each pair."""
    active: Bool[np.ndarray, " batch"]
    guests: tuple[tuple[Guest, ...] | None, ...]
    """Stems beside the own one in each remixed anchor; None: the anchor is the mixture."""


class Views:
    """Batches of pairs from a corpus; every batch is a function of (seed, epoch, number)."""

    def __init__(
        self,
        corpus: Corpus,
        config: ViewsConfig,
        plan: PlanConfig,
        chosen: Int[np.ndarray, " cuts"] | None = None,
    ) -> None:
        """Cut the corpus into segments and measure where each source sounds.

        Args:
            corpus: Recordings, and their stems if sources ask for any.
            config: What is cropped.
            plan: Batches, of `batch_size` pairs.
            chosen: Which cuts take part; all by default.

        Raises:
            UserError: The corpus lacks a source, or a source never sounds.
        """
        for source in config.sources:
            if source != MIXTURE and source not in corpus.stems:
                raise UserError(
                    f"{corpus.folder} has no stem {source!r}{did_you_mean(source, corpus.stems)} "
                    f"(it has {', '.join(corpus.stems) or 'none'})"
                )
        self.corpus = corpus
        self.config = config
        chosen = np.arange(len(corpus)) if chosen is None else chosen
        self.cuts, self.starts = _segments(corpus, chosen, config)
        self.lengths = np.minimum(
            corpus.num_samples[self.cuts] - self.starts, config.segment_samples or 2**62
        )
        self.active = {source: self._activity(source) for source in config.sources}
        self.plan = Plan(self.lengths, SAMPLE_RATE, plan)
        if plan.batch_size is None or plan.num_buckets != 1:
            raise UserError("crops are all of one length: set batch_size, and num_buckets to 1")
        self.seed, self.batch_size = plan.seed, plan.batch_size
        self.presentation = Presentation(
            sample_rate=SAMPLE_RATE, window_samples=config.crop_samples, level=config.level
        )

    @property
    def facts(self) -> DataFacts:
        """Audio of a step: two crops a pair."""
        seconds = 2 * self.batch_size * self.config.crop_samples / SAMPLE_RATE
        return DataFacts(seconds_per_step=seconds)

    def draw(self, position: Position) -> Draw:
        """Draw the pairs of a batch, of all ranks."""
        generator = np.random.Generator(
            np.random.Philox(key=[self.seed, (position.epoch << 32) + position.batch])
        )
        in_turn = self.plan.epoch(position.epoch).cuts(position.batch)
        sources = self._draw_sources(generator)
        mixed = self.config.silent and generator.random() < 0.5
        segments = in_turn.copy() if mixed else self._draw_active(sources, in_turn, generator)
        active = np.array([self.active[s][i] for s, i in zip(sources, segments, strict=True)])
        if mixed and active.sum() < 2:
            # With fewer than two real candidates there is nothing to tell apart.
            segments[:2] = self._draw_active(sources, in_turn, generator)[:2]
            active[:2] = True
        positives = segments
        if self.config.shuffled:
            positives = self._draw_active(sources, in_turn, generator)
        return Draw(
            segments,
            positives,
            self._draw_offsets(segments, generator),
            self._draw_offsets(positives, generator),
            sources,
            active,
            self._draw_guests(sources, active, generator),
        )

    def load(self, position: Position, rank: int = 0, world_size: int = 1) -> ViewBatch:
        """Read the crops of a rank's share of a batch."""
        draw = self.draw(position)
        rows = np.array_split(np.arange(len(draw.segments)), world_size)[rank]
        anchors = np.stack([self._anchor(draw, int(i)) for i in rows])
        positives = self._crops(draw.positive_segments, draw.sources, draw.positive_offsets, rows)
        return ViewBatch(
            torch.from_numpy(anchors),
            torch.from_numpy(positives),
            torch.from_numpy(draw.active[rows]),
            torch.from_numpy(self.corpus.recordings[self.cuts[draw.segments[rows]]]),
            draw.sources[0] if len(set(draw.sources)) == 1 else "each",
        )

    def _draw_sources(self, generator: np.random.Generator) -> tuple[str, ...]:
        names, weights = zip(*self.config.sources.items(), strict=True)
        count = self.batch_size if self.config.per_pair else 1
        drawn = generator.choice(len(names), size=count, p=np.array(weights) / sum(weights))
        return tuple(names[i] for i in np.resize(drawn, self.batch_size))

    def _draw_active(
        self, sources: tuple[str, ...], in_turn: np.ndarray, generator: np.random.Generator
    ) -> Int[np.ndarray, " batch"]:
        """Draw segments in which the sources sound, distinct as long as there are enough.

        For mixtures, which always sound, the epoch's permutation is followed.
        """
        segments = in_turn.copy()
        for source in sorted(set(sources) - {MIXTURE}):
            rows = np.array([name == source for name in sources])
            choices = np.flatnonzero(self.active[source])
            few = rows.sum() > len(choices)
            segments[rows] = generator.choice(choices, rows.sum(), replace=bool(few))
        return segments

    def _draw_offsets(
        self, segments: np.ndarray, generator: np.random.Generator
    ) -> Int[np.ndarray, " batch"]:
        room = self.lengths[segments] - self.config.crop_samples
        # The last offset is never drawn when there is a choice, as in the released code.
        steps = np.maximum(room // self.config.offset_step, 1)
        offsets = generator.integers(steps) * self.config.offset_step
        # Short cuts lie in the middle of the crop, the smaller half of the padding before them.
        return np.where(room < 0, -(-room // 2), offsets)

    def _draw_guests(
        self, sources: tuple[str, ...], active: np.ndarray, generator: np.random.Generator
    ) -> tuple[tuple[Guest, ...] | None, ...]:
        """Draw which stems of other segments sound in remixed anchors."""
        if not self.config.remix:
            return (None,) * len(sources)
        stems = sorted(set(self.config.sources) - {MIXTURE})
        guests: list[tuple[Guest, ...] | None] = []
        for source, sounds in zip(sources, active, strict=True):
            remixed = generator.random() < self.config.remix and sounds and source != MIXTURE
            others = [name for name in stems if name != source]
            count = min(int(generator.integers(self.config.guests + 1)), len(others))
            others = generator.choice(others, count, replace=False).tolist() if count else []
            segments = [generator.choice(np.flatnonzero(self.active[name])) for name in others]
            offsets = self._draw_offsets(np.array(segments, np.int64), generator)
            gains = 10 ** (generator.uniform(-6.0, 6.0, len(others)) / 20)
            drawn = zip(others, segments, offsets, gains, strict=True)
            guests.append(
                tuple(Guest(name, int(s), int(o), float(g)) for name, s, o, g in drawn)
                if remixed
                else None
            )
        return tuple(guests)

    def _anchor(self, draw: Draw, row: int) -> Float[np.ndarray, " samples"]:
        """Read the mixture, or mix the pair's stem with its guests to the level of one stem."""
        segment, offset = int(draw.segments[row]), int(draw.anchor_offsets[row])
        guests = draw.guests[row]
        if guests is None:
            return self._crop(segment, MIXTURE, offset)
        mixed = self._crop(segment, draw.sources[row], offset)
        for guest in guests:
            mixed = mixed + np.float32(guest.gain) * self._crop(
                guest.segment, guest.source, guest.offset
            )
        return mixed / np.float32(np.sqrt(1 + sum(guest.gain**2 for guest in guests)))

    def _crops(
        self,
        segments: Int[np.ndarray, " batch"],
        sources: tuple[str, ...],
        offsets: Int[np.ndarray, " batch"],
        rows: Int[np.ndarray, " share"],
    ) -> Float[np.ndarray, "share samples"]:
        return np.stack([self._crop(int(segments[i]), sources[i], int(offsets[i])) for i in rows])

    def _crop(self, segment: int, source: str, offset: int) -> Float[np.ndarray, " samples"]:
        cut, size = int(self.cuts[segment]), self.config.crop_samples
        start = int(self.starts[segment] + offset)
        if source == MIXTURE:
            return _padded(self.corpus, cut, RECORDING, start, size) * self._scale(cut, RECORDING)
        stem = _padded(self.corpus, cut, source, start, size)
        if self.config.leakage:
            rest = _padded(self.corpus, cut, RECORDING, start, size) - stem
            stem = stem + np.float32(self.config.leakage) * rest
        return stem * self._scale(cut, source)

    def _scale(self, cut: int, field: str) -> np.float32:
        energy = float(self.corpus.fields[field].energy[cut])
        return level_scale(energy, int(self.corpus.num_samples[cut]), self.presentation)

    def _activity(self, source: str) -> Bool[np.ndarray, " segments"]:
        if source == MIXTURE:
            return np.ones(len(self.cuts), bool)
        stem, threshold = self.corpus.fields[source], 10 ** (self.config.active_dbfs / 20)
        magnitudes = np.array(
            [
                stem.mean_magnitude(int(cut), int(start), int(length))
                for cut, start, length in zip(self.cuts, self.starts, self.lengths, strict=True)
            ]
        )
        active = magnitudes > threshold
        if not active.any():
            raise UserError(
                f"source {source!r} is above {self.config.active_dbfs} dBFS in no segment: are its "
                "stems silent? leave it out of sources, or lower active_dbfs"
            )
        return active


def _segments(
    corpus: Corpus, chosen: Int[np.ndarray, " cuts"], config: ViewsConfig
) -> tuple[Int[np.ndarray, " segments"], Int[np.ndarray, " segments"]]:
    """Cut every recording into whole segments; a shorter one is a segment of its own."""
    if config.segment_samples is None:
        return chosen, np.zeros(len(chosen), np.int64)
    hop = config.segment_hop or config.segment_samples
    counts = np.maximum((corpus.num_samples[chosen] - config.segment_samples) // hop + 1, 1)
    cuts = np.repeat(chosen, counts)
    within = np.arange(len(cuts)) - np.repeat(np.cumsum(counts) - counts, counts)
    return cuts, within * hop


def _padded(
    corpus: Corpus, cut: int, field: str, start: int, size: int
) -> Float[np.ndarray, " samples"]:
    """Read `size` samples from `start`, with zeros where the cut has none."""

    def read(first: int, last: int) -> Float[np.ndarray, " samples"]:
        return corpus.waveform(cut, field, first, last - first)

    return read_span(read, int(corpus.num_samples[cut]), start, start + size)
