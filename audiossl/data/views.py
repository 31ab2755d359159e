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
from torch import Tensor

from audiossl.audio.presentation import Presentation, level_scale
from audiossl.batches import DataFacts, ViewBatch
from audiossl.configs import Count, Nonnegative, Share, Whole
from audiossl.data.corpus import Corpus
from audiossl.data.layout import MIXTURE, RECORDING, SAMPLE_RATE
from audiossl.data.noise import Noise, Responses
from audiossl.data.plan import PlanConfig, Position
from audiossl.data.priors import PriorsConfig, read_priors
from audiossl.data.view_plan import ViewPlan, crop_sizes, cut_segments, values_of
from audiossl.errors import UserError, did_you_mean
from audiossl.features.augmentations import Augmentations, AugmentationsConfig


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
    short_cuts: Literal["pad", "shorten", "leave_out"] = "pad"
    """Treatment of segments that are no longer than a crop, of which both crops are the same:
    padded with silence; crops of three quarters of the segment, padded; or left out."""
    overlap: Share = 0.0
    """Least share of a crop that both crops of a pair have in common; 0: none."""
    balance: str | None = None
    """Label whose values (domains) have equal shares of the batches; null: each segment once an
    epoch."""
    batches_of_one: str | None = None
    """Label (domain, source of recordings) of which each batch has one value; values with fewer
    segments than a batch share batches. Null: batches of all segments."""
    priors: PriorsConfig = PriorsConfig()
    """Prior vectors of cuts, for losses with a kernel."""
    augmentations: AugmentationsConfig | None = None
    """Augmentations of both crops, as {} or {gain: 3}; null: none."""

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
        cut = cut_segments(corpus, chosen, config.segment_samples, config.segment_hop)
        sizes, kept = crop_sizes(cut[2], config.crop_samples, config.offset_step, config.short_cuts)
        self.cuts, self.starts, self.lengths = (numbers[kept] for numbers in cut)
        self.sizes = sizes[kept]
        self.active = {source: self._activity(source) for source in config.sources}
        self.plan = ViewPlan(
            self.lengths, plan,
            balance=self._values("balance"), apart=self._values("batches_of_one"),
        )  # fmt: skip
        self.priors = read_priors(corpus, self.cuts, config.priors)
        augment = config.augmentations or AugmentationsConfig()
        self.augmentations = Augmentations(augment) if config.augmentations else None
        self.noise = Noise(augment.noise, plan.seed) if augment.noise else None
        self.responses = Responses(augment.responses, plan.seed) if augment.responses else None
        self.seed, self.batch_size = plan.seed, int(plan.batch_size or 0)
        self.presentation = Presentation(
            sample_rate=SAMPLE_RATE, window_samples=config.crop_samples, level=config.level
        )

    @property
    def facts(self) -> DataFacts:
        """Audio of a step: two crops a pair."""
        seconds = 2 * self.batch_size * self.config.crop_samples / SAMPLE_RATE
        return DataFacts(
            seconds_per_step=seconds, num_items=len(self.cuts), prior_dim=self.priors.shape[1],
            overlap=self.config.overlap, augmentations=self.augmentations,
        )  # fmt: skip

    @property
    def identical(self) -> Bool[np.ndarray, " segments"]:
        """Whether both crops of a segment are always the same, if neither is a stem."""
        return (self.lengths - self.sizes) // self.config.offset_step <= 1

    def draw(self, position: Position) -> Draw:
        """Draw the pairs of a batch, of all ranks."""
        generator = np.random.Generator(
            np.random.Philox(key=[self.seed, (position.epoch << 32) + position.batch])
        )
        in_turn = self.plan.epoch(position.epoch).cuts(position.batch)
        sources = self._draw_sources(in_turn, generator)
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
        offsets = self._draw_offsets(segments, generator)
        return Draw(
            segments,
            positives,
            offsets,
            self._draw_offsets(positives, generator, near=offsets),
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
            torch.from_numpy(self.priors[draw.segments[rows]]) if self.priors.size else None,
            noise=self._mixed_in(self.noise, position, rows),
            responses=self._mixed_in(self.responses, position, rows),
            offsets=torch.from_numpy((draw.positive_offsets - draw.anchor_offsets)[rows]),
        )

    def _mixed_in(
        self, pieces: Noise | None, position: Position, rows: Int[np.ndarray, " share"]
    ) -> Float[Tensor, "share two samples"] | None:
        """Read a piece for the anchor and one for the positive of each row."""
        if pieces is None:
            return None
        each = np.stack([2 * rows, 2 * rows + 1], axis=1).flatten()
        return pieces.load(position, each, self.config.crop_samples).unflatten(0, (-1, 2))

    def _values(self, setting: str) -> Int[np.ndarray, " segments"] | None:
        label = getattr(self.config, setting)
        return None if label is None else values_of(self.corpus, self.cuts, label, setting)

    def _draw_sources(self, in_turn: np.ndarray, generator: np.random.Generator) -> tuple[str, ...]:
        alike = self.plan.like(int(in_turn[0]))
        sounding = {s: w for s, w in self.config.sources.items() if self.active[s][alike].any()}
        if not sounding:
            raise UserError(
                f"batches_of_one {self.config.batches_of_one}: no source sounds in the segments "
                f"like {self.corpus.name(int(self.cuts[in_turn[0]]))}: add the source {MIXTURE}"
            )
        names, weights = zip(*sounding.items(), strict=True)
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
            alike = self.plan.like(int(in_turn[0]))
            choices = alike[self.active[source][alike]]
            few = rows.sum() > len(choices)
            weights = self.plan.weights[choices] if self.plan.balanced else None
            shares = None if weights is None else weights / weights.sum()
            segments[rows] = generator.choice(choices, rows.sum(), replace=bool(few), p=shares)
        return segments

    def _draw_offsets(
        self, segments: np.ndarray, generator: np.random.Generator, near: np.ndarray | None = None
    ) -> Int[np.ndarray, " batch"]:
        """Draw where crops begin; near others, if crops of a pair are to overlap."""
        step, sizes = self.config.offset_step, self.sizes[segments]
        # The last offset is never drawn when there is a choice, as in the released code.
        ends = np.maximum((self.lengths[segments] - sizes) // step, 1)
        if near is None or not self.config.overlap:
            return generator.integers(ends) * step
        reach = (sizes * (1 - self.config.overlap)).astype(np.int64) // step
        first = np.clip(near // step - reach, 0, ends - 1)
        return generator.integers(first, np.minimum(near // step + reach + 1, ends)) * step

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
        cut, size = int(self.cuts[segment]), int(self.sizes[segment])
        field = RECORDING if source == MIXTURE else source
        start = int(self.starts[segment] + offset)
        crop = self.corpus.waveform(cut, field, start, size)
        if source != MIXTURE and self.config.leakage:
            rest = self.corpus.waveform(cut, RECORDING, start, size) - crop
            crop = crop + np.float32(self.config.leakage) * rest
        # Short crops lie in the middle of silence, the smaller half of it before them.
        missing = self.config.crop_samples - size
        return np.pad(crop * self._scale(cut, field), (missing // 2, missing - missing // 2))

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
