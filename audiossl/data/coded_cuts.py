"""Coded cuts: batches of waveforms with the codes of their teachers, from a mixture of corpora.

Each cut has a domain, and a domain says which codes a cut of it must have: SPEAR asks for speech
codes of every cut, and for audio codes of audio besides. What a domain does not ask for is -100.
Lengths are padded to those of the cut's bucket, so that shapes are few and static. A batch is a
function of (seed, epoch, number): it is the same for any number of ranks and workers.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from audiossl.audio.frame_rates import IGNORED, MOST_FRAMES_APART, num_whole_frames, whole_frames
from audiossl.batches import DOMAINS, CodeBatch, DataFacts, Target
from audiossl.configs import Nonnegative, Positive, Share
from audiossl.data.codes import CodeFacts
from audiossl.data.corpus import Corpus
from audiossl.data.layout import RECORDING, SAMPLE_RATE
from audiossl.data.mixture import MixturePlan
from audiossl.data.noise import Noise
from audiossl.data.plan import PlanConfig, Position
from audiossl.errors import UserError, did_you_mean
from audiossl.nn.padding import padded

"""In the order of `CodeBatch.domains`: other audio is 1."""


@dataclass(frozen=True, kw_only=True)
class CodedCorpusConfig:
    """One corpus of a mixture."""

    cuts: Path
    """Output of a `prepare` stage."""
    codes: tuple[Path, ...] = ()
    """Outputs of `recipes.spear.encode` for the same cuts, one a teacher."""
    domain: Literal["speech", "audio"] = "speech"
    """Domain of its cuts."""
    where: dict[str, list[str]] = field(default_factory=dict)
    """Labels and their values of the cuts that take part, as in {split: [train]}; all cuts if
    empty."""
    weight: float = 1.0
    """Sampling weight of its cuts relative to those of other corpora: 2 is twice an epoch."""


@dataclass(frozen=True, kw_only=True)
class CodedCutsConfig:
    """What batches are made of."""

    targets: dict[str, list[str]]
    """Fields of codes that the cuts of each domain must have. SPEAR: {speech: [speech], audio:
    [speech, audio]}; each domain its own: {speech: [speech], audio: [audio]}."""
    domain_shares: dict[str, Nonnegative] = field(default_factory=dict)
    """Share of each domain in all cuts, as in {speech: 0.5, audio: 0.5}; weights of corpora then
    only weigh within a domain. If empty, the weights alone decide."""
    min_duration: Nonnegative = 0.5
    """Minimum duration of a cut in seconds; shorter cuts are left out."""
    max_duration: Positive = 31.0
    """Maximum duration of a cut in seconds; longer cuts are left out or split."""
    long_cuts: Literal["leave_out", "split"] = "leave_out"
    """Treatment of cuts above `max_duration`: leave them out, or split them into consecutive parts
    of that length."""
    max_missing: Share = 0.01
    """Largest share of a corpus' cuts that may lack codes they must have, because `encode` left
    them out; such cuts take no part."""
    noise: tuple[Path, ...] = ()
    """Corpora (outputs of `prepare`) of noise to mix in, the source of `CodeBatch.noise`."""

    def __post_init__(self) -> None:
        """Check what values alone can tell.

        Raises:
            UserError: A value makes no sense.
        """
        for name in (*self.targets, *self.domain_shares):
            if name not in DOMAINS:
                raise UserError(f"unknown domain {name!r}{did_you_mean(name, DOMAINS)}")
        if not self.targets or not all(self.targets.values()):
            raise UserError(f"targets {self.targets}: every domain needs codes to learn")
        if not 0 < self.min_duration <= self.max_duration:
            raise UserError(
                f"min_duration {self.min_duration} and max_duration {self.max_duration}: "
                "give 0 < min <= max, in seconds"
            )
        if any(not 0 < share < float("inf") for share in self.domain_shares.values()):
            raise UserError(f"domain_shares {self.domain_shares}: shares must be above 0")


@dataclass(frozen=True)
class _Items:
    """The parts of cuts of one corpus that take part."""

    cuts: Int[np.ndarray, " items"]
    starts: Int[np.ndarray, " items"]
    lengths: Int[np.ndarray, " items"]


class CodedCuts:
    """A `BatchSource` of `CodeBatch`es."""

    def __init__(
        self, corpora: tuple[CodedCorpusConfig, ...], config: CodedCutsConfig, plan: PlanConfig
    ) -> None:
        """Open the corpora and see that they fit together.

        Args:
            corpora: The mixture.
            config: What batches are made of.
            plan: How cuts are put into batches.

        Raises:
            UserError: A cut lacks codes that it must have, codes of one field are of different
                quantizers, codes are not those of the audio, or no cut is left.
        """
        if not corpora:
            raise UserError("corpora: give at least one")
        self.config, self.seed = config, plan.seed
        self.domains = [DOMAINS.index(entry.domain) for entry in corpora]
        self.needed = [tuple(config.targets.get(entry.domain, ())) for entry in corpora]
        self.corpora = [Corpus(entry.cuts, *entry.codes) for entry in corpora]
        for entry, fields in zip(corpora, self.needed, strict=True):
            if not fields:
                raise UserError(f"{entry.cuts} is {entry.domain}, for which targets has no codes")
        self.fields = self._facts()
        self.items = [
            self._items(corpus, entry, fields)
            for corpus, entry, fields in zip(self.corpora, corpora, self.needed, strict=True)
        ]
        lengths = [items.lengths for items in self.items]
        self.plan = MixturePlan(lengths, self._weights(corpora), SAMPLE_RATE, plan)
        self.noise = Noise(config.noise, plan.seed) if config.noise else None

    @property
    def facts(self) -> DataFacts:
        """Audio of a step, and the codes of each teacher."""
        targets = {
            name: Target(field.num_codebooks, field.codebook_size, field.frame_rate)
            for name, field in self.fields.items()
        }
        return DataFacts(seconds_per_step=self.plan.seconds_per_batch, targets=targets)

    def load(self, position: Position, rank: int = 0, world_size: int = 1) -> CodeBatch:
        """Read a rank's share of the batch at `position`."""
        batches = self.plan.epoch(position.epoch)
        whole = batches.cuts(position.batch)
        rows = np.array_split(np.arange(len(whole)), world_size)[rank]
        width = int(self.plan.padded[batches.buckets[position.batch]])
        places = [self._place(int(number)) for number in whole[rows]]
        lengths = [int(self.items[corpus].lengths[item]) for corpus, item in places]
        return CodeBatch(
            waveforms=torch.from_numpy(self._waveforms(places, width)),
            lengths=torch.tensor(lengths),
            domains=torch.tensor([self.domains[corpus] for corpus, _ in places]),
            codes={name: self._codes(name, places, width) for name in self.fields},
            noise=None if self.noise is None else self.noise.load(position, rows, width),
        )

    def names(self, position: Position) -> list[str]:
        """Ids of the cuts of a batch, of all ranks."""
        whole = self.plan.epoch(position.epoch).cuts(position.batch)
        return [
            self.corpora[corpus].name(int(self.items[corpus].cuts[item]))
            for corpus, item in map(self._place, whole.tolist())
        ]

    def _place(self, number: int) -> tuple[int, int]:
        """Find the corpus of an item of the plan, and the item within it."""
        corpus = int(np.searchsorted(self.plan.firsts, number, side="right")) - 1
        return corpus, number - int(self.plan.firsts[corpus])

    def _waveforms(
        self, places: list[tuple[int, int]], width: int
    ) -> Float[np.ndarray, "rows width"]:
        return padded((self._waveform(*place) for place in places), width)[0].numpy()

    def _waveform(self, corpus: int, item: int) -> Float[np.ndarray, " samples"]:
        items = self.items[corpus]
        start, length = int(items.starts[item]), int(items.lengths[item])
        return self.corpora[corpus].waveform(int(items.cuts[item]), RECORDING, start, length)

    def _codes(
        self, name: str, places: list[tuple[int, int]], width: int
    ) -> Int[Tensor, "rows frames codebooks"]:
        facts = self.fields[name]
        num_frames = num_whole_frames(width / SAMPLE_RATE, facts.frame_rate)
        codes = torch.full((len(places), num_frames, facts.num_codebooks), IGNORED)
        for row, (corpus, item) in zip(codes, places, strict=True):
            if name not in self.needed[corpus]:
                continue
            items = self.items[corpus]
            start, length = int(items.starts[item]), int(items.lengths[item])
            coded = self.corpora[corpus].codes(int(items.cuts[item]), name, start, length)
            row[: len(coded.values)] = coded.values
        return codes

    def _facts(self) -> dict[str, CodeFacts]:
        """Find what is known of each field that is needed, the same in all corpora."""
        facts: dict[str, CodeFacts] = {}
        for corpus, fields in zip(self.corpora, self.needed, strict=True):
            for name in fields:
                if name not in corpus.code_fields:
                    known = ", ".join(corpus.code_fields) or "none"
                    raise UserError(
                        f"cut {corpus.name(0)} and all others of {corpus.folder}: have no codes "
                        f"{name!r}{did_you_mean(name, corpus.code_fields)} (they have {known}), "
                        "which targets asks of their domain: encode them, or change targets"
                    )
                mine = corpus.code_fields[name]
                facts.setdefault(name, mine.facts)
                mine.check_made_by(facts[name].quantizer_id)
        return facts

    def _items(self, corpus: Corpus, entry: CodedCorpusConfig, fields: tuple[str, ...]) -> _Items:
        chosen = corpus.select(entry.where)
        # What is too short is left out first: it may be too short for a teacher as well.
        usable = chosen[_is_usable(corpus.num_samples[chosen], self.config)]
        cuts = self._with_codes(corpus, usable, fields)
        items = _parts(cuts, corpus.num_samples[cuts], self.config)
        if len(items.cuts) == 0:
            raise UserError(
                f"{corpus.folder}: none of {len(chosen)} cuts has {self.config.min_duration} to "
                f"{self.config.max_duration} s (min_duration, max_duration; long_cuts: split "
                "takes longer ones in parts)"
            )
        return items

    def _with_codes(
        self, corpus: Corpus, cuts: Int[np.ndarray, " cuts"], fields: tuple[str, ...]
    ) -> Int[np.ndarray, " coded"]:
        """Leave out the cuts that `encode` left out, if they are few."""
        has: Bool[np.ndarray, " cuts"] = np.ones(len(cuts), bool)
        for name in fields:
            entry = corpus.code_fields[name]
            present = entry.present[cuts]
            missing = cuts[~present]
            if len(missing) > self.config.max_missing * len(cuts):
                raise UserError(
                    f"cut {corpus.name(int(missing[0]))}: has no codes {name!r} in {entry.folder}, "
                    f"nor have {len(missing) - 1} others of {len(cuts)}, more than max_missing "
                    f"{self.config.max_missing:.0%}: encode them, or leave them out with where"
                )
            _check_lengths(corpus, cuts[present], name)
            has &= present
        return cuts[has]

    def _weights(self, corpora: tuple[CodedCorpusConfig, ...]) -> list[float]:
        weights = [
            entry.weight * len(items.cuts) for entry, items in zip(corpora, self.items, strict=True)
        ]
        shares = self.config.domain_shares
        if not shares:
            return weights
        present = {entry.domain for entry in corpora}
        if present != set(shares):
            raise UserError(
                f"domain_shares names {sorted(shares)}, the corpora are {sorted(present)}: name "
                "the same domains"
            )
        totals = dict.fromkeys(present, 0.0)
        for entry, weight in zip(corpora, weights, strict=True):
            totals[entry.domain] += weight
        return [
            weight * shares[entry.domain] / totals[entry.domain]
            for entry, weight in zip(corpora, weights, strict=True)
        ]


def _is_usable(
    lengths: Int[np.ndarray, " cuts"], config: CodedCutsConfig
) -> Bool[np.ndarray, " cuts"]:
    """Say which cuts have a duration that is asked for."""
    long_enough = lengths >= config.min_duration * SAMPLE_RATE
    if config.long_cuts == "split":
        return long_enough
    return long_enough & (lengths <= config.max_duration * SAMPLE_RATE)


def _parts(
    cuts: Int[np.ndarray, " cuts"], lengths: Int[np.ndarray, " cuts"], config: CodedCutsConfig
) -> _Items:
    """Take cuts whole, or in parts of `max_duration`, of which the last may be too short."""
    if config.long_cuts == "leave_out":
        return _Items(cuts, np.zeros(len(cuts), np.int64), lengths)
    longest = int(config.max_duration * SAMPLE_RATE)
    counts = -(-lengths // longest)
    numbers = np.repeat(np.arange(len(cuts)), counts)
    starts = (np.arange(len(numbers)) - np.repeat(np.cumsum(counts) - counts, counts)) * longest
    parts = np.minimum(lengths[numbers] - starts, longest)
    long_enough = parts >= config.min_duration * SAMPLE_RATE
    return _Items(cuts[numbers[long_enough]], starts[long_enough], parts[long_enough])


def _check_lengths(corpus: Corpus, cuts: Int[np.ndarray, " cuts"], name: str) -> None:
    """Refuse codes that are not as long as the audio: they are of something else."""
    for cut, given, expected in _misfits(corpus, cuts, name):
        raise UserError(
            f"cut {corpus.name(cut)}: {given} codes {name!r} for {expected} frames of its audio; "
            f"they may differ by {MOST_FRAMES_APART}: were they made of another audio?"
        )


def _misfits(
    corpus: Corpus, cuts: Int[np.ndarray, " cuts"], name: str
) -> Iterator[tuple[int, int, int]]:
    entry = corpus.code_fields[name]
    given = entry.columns["num_frames"][cuts]
    seconds = corpus.num_samples[cuts] / SAMPLE_RATE
    expected = whole_frames(seconds, entry.facts.frame_rate)
    for row in np.flatnonzero(np.abs(given - expected) > MOST_FRAMES_APART):
        yield int(cuts[row]), int(given[row]), int(expected[row])
