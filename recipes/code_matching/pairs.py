"""Stage: pairs of two modalities, of any of seven kinds, become columns that training maps."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

from typing_extensions import assert_never

from audiossl import distributed
from audiossl.atomic_files import check_name
from audiossl.configs import Count, Share
from audiossl.data.corpus import Corpus
from audiossl.data.lhotse_cuts import shar_shards
from audiossl.data.pair_corpus import ModalityFacts, Values, checked, finish_pairs, write_pairs
from audiossl.data.pairing import (
    Encoders,
    Readings,
    Scores,
    Stems,
    Transcripts,
    encoder_pairs,
    reading_pairs,
    score_pairs,
    stem_pairs,
    transcript_pairs,
)
from audiossl.data.pairs import Pair, Reference, pair_row, read_pairs
from audiossl.data.shar_arrays import shar_array_pairs
from audiossl.errors import Skip, UserError
from recipes.code_matching.front_ends import Front, FrontConfig, fronts_of, positions
from recipes.record import digest
from recipes.shards import Outcome, Task, run_shards
from recipes.stage import Resources, Stage, main


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Pairs as a .jsonl file lists them, which is given as source; see `audiossl.data.pairs`."""

    kind: Literal["manifest"] = "manifest"


@dataclass(frozen=True, kw_only=True)
class Shar:
    """Arrays in a Shar folder, which is given as source."""

    kind: Literal["shar"] = "shar"
    fields: dict[str, str] = field(default_factory=dict)
    """Name of the field of each modality."""


PairsKind: TypeAlias = Stems | Transcripts | Readings | Scores | Encoders | Manifest | Shar


@dataclass(frozen=True, kw_only=True)
class Config:
    """Pair two modalities."""

    output: Path
    """Folder of the pairs."""
    pairs: PairsKind
    """Kind of pairs."""
    modalities: dict[str, FrontConfig]
    """Modalities and their front ends, in the order that losses have them; of kind sound, text,
    score or array."""
    cuts: tuple[Path, ...] = ()
    """Output of a `prepare` stage, and of stages that add stems to it; for modalities of sound."""
    source: Path | None = None
    """Manifest (.jsonl), folder of scores, or Shar folder, where the kind of pairs needs it."""
    lexicon: Path | None = None
    """Pronunciation dictionary, where text is to become phones."""
    where: dict[str, list[str]] = field(default_factory=dict)
    """Labels and their values of the cuts that take part; all cuts if empty."""
    shard_size: Count = 1000
    """Number of pairs in a shard."""
    max_skipped: Share = 0.01
    """Largest share of pairs that may be left out before the stage fails."""
    resources: Resources = Resources()
    """Device and worker processes."""


def make_pairs(config: Config, stage: Stage) -> dict[str, Any]:
    """Write the values of all pairs, shard by shard."""
    for modality in config.modalities:
        check_name(modality, "name of a modality")
    listed = [] if isinstance(config.pairs, Shar) else list(list_pairs(config))
    known = [pair for pair in listed if isinstance(pair, Pair)]
    if not known and not isinstance(config.pairs, Shar):
        first = f"; the first reason: {listed[0]}" if listed else ""
        raise UserError(f"there is not one pair of kind {config.pairs.kind}{first}")
    tasks = _tasks(config, listed)
    fronts = fronts_of(config.modalities, known, config.cuts, config.lexicon, str(stage.device))
    facts = {modality: front.facts for modality, front in fronts.items()}
    if isinstance(config.pairs, Shar):
        facts = _shar_facts(config.pairs, facts, tasks)
    stage.log.info("%d pairs of %s in %d shards", len(known), config.pairs.kind, len(tasks))
    make = partial(_worker, config, known, str(stage.device), facts)
    totals = run_shards(stage, tasks, make, config.resources)
    if distributed.is_first():
        totals["pairs"] = finish_pairs(stage.output, len(tasks), facts)
    return totals


def list_pairs(config: Config) -> Iterator[Pair | Skip]:
    """List pairs by reference, without reading any.

    Raises:
        UserError: What the kind needs is not given.
    """
    kind = config.pairs
    if isinstance(kind, Manifest):
        path = _source(config)
        for pair in read_pairs(path, tuple(config.modalities)):
            yield pair if isinstance(pair, Skip) else _beside(pair, path.parent)
        return
    if not config.cuts:
        raise UserError(f"pairs of kind {kind.kind} need the output of a prepare stage as cuts")
    corpus = Corpus(*config.cuts)
    yield from _corpus_pairs(config, corpus, corpus.select(config.where).tolist())


def _corpus_pairs(config: Config, corpus: Corpus, cuts: Sequence[int]) -> Iterator[Pair | Skip]:
    match config.pairs:
        case Stems() as kind:
            return stem_pairs(corpus, cuts, kind)
        case Transcripts() as kind:
            return transcript_pairs(corpus, cuts, kind)
        case Readings() as kind:
            return reading_pairs(corpus, cuts, kind)
        case Scores() as kind:
            return score_pairs(corpus, cuts, kind, _source(config))
        case Encoders() as kind:
            return encoder_pairs(corpus, cuts, kind, tuple(config.modalities))
        case Manifest() | Shar():
            raise AssertionError("listed without a corpus")
        case _:
            assert_never(config.pairs)


def _source(config: Config) -> Path:
    if config.source is None:
        raise UserError(f"pairs of kind {config.pairs.kind} need a file or folder as source")
    return config.source


def _beside(pair: Pair, folder: Path) -> Pair:
    """Read paths of files as relative to the manifest."""
    modalities = {
        modality: replace(ref, place=str(folder / ref.place))
        if ref.kind in ("array", "score")
        else ref
        for modality, ref in pair.modalities.items()
    }
    return replace(pair, modalities=modalities)


def _tasks(config: Config, listed: Sequence[Pair | Skip]) -> list[Task]:
    if isinstance(config.pairs, Shar):
        shards = shar_shards(_source(config))
        if not shards:
            raise UserError(f"{config.source}: no Shar folder (no cuts.*.jsonl* in it)")
        return [Task(i, digest([p.name, p.stat().st_size]), p) for i, p in enumerate(shards)]
    size = config.shard_size
    pieces = [tuple(listed[first : first + size]) for first in range(0, len(listed), size)]
    return [Task(index, digest([_named(p) for p in piece]), piece) for index, piece in
            enumerate(pieces)]  # fmt: skip


def _named(pair: Pair | Skip) -> Any:
    return str(pair) if isinstance(pair, Skip) else pair_row(pair)


def _shar_facts(
    kind: Shar, facts: Mapping[str, ModalityFacts], tasks: Sequence[Task]
) -> dict[str, ModalityFacts]:
    """Learn the dimension of each modality from the first cut that has all of them."""
    if set(kind.fields) != set(facts) or any(f.kind != "array" for f in facts.values()):
        raise UserError("pairs of kind shar: name a field for each modality, all of kind array")
    for task in tasks:
        for row in shar_array_pairs(task.payload, kind.fields):
            if not isinstance(row, Skip):
                sizes = {modality: values.shape[-1] for modality, values in row[1].items()}
                return {
                    s: ModalityFacts(**{**asdict(f), "size": sizes[s]}) for s, f in facts.items()
                }
    raise UserError("no cut of the Shar folder has a value in every field")


def _worker(
    config: Config, pairs: Sequence[Pair], device: str, facts: Mapping[str, ModalityFacts]
) -> Callable[[Task], Outcome]:
    """Load what reads the modalities once, in the process that uses it."""
    fronts = fronts_of(config.modalities, pairs, config.cuts, config.lexicon, device)

    def work(task: Task) -> Outcome:
        skipped: list[dict[str, str]] = []
        read = _read_shar if isinstance(config.pairs, Shar) else _read
        rows = list(read(config, task.payload, fronts, facts, skipped))
        files = write_pairs(rows, config.output, task.index, facts)
        seconds = sum(
            len(values[modality]) / facts[modality].frame_rate
            for _, values in rows
            for modality in facts
            if facts[modality].kind == "sound"
        )
        return Outcome(files, len(rows) + len(skipped), seconds / 3600, tuple(skipped))

    return work


Rows = Iterator[tuple[Pair, dict[str, Values]]]


def _read(
    config: Config,  # noqa: ARG001 - the same for all kinds
    pairs: Iterable[Pair | Skip],
    fronts: Mapping[str, Front],
    facts: Mapping[str, ModalityFacts],
    skipped: list[dict[str, str]],
) -> Rows:
    for pair in pairs:
        identity = pair.id if isinstance(pair, Pair) else ""
        try:
            if isinstance(pair, Skip):
                raise pair
            yield (
                pair,
                {modality: _modality(pair, modality, fronts[modality]) for modality in facts},
            )
        except Skip as error:
            skipped.append({"id": identity, "reason": str(error)})


def _modality(pair: Pair, modality: str, front: Front) -> Values:
    reference: Reference | None = pair.modalities.get(modality)
    if reference is None:
        raise Skip(
            f"pair {pair.id!r} has no modality {modality!r} (it has {', '.join(pair.modalities)})"
        )
    if reference.kind != front.facts.kind:
        raise Skip(f"pair {pair.id!r}: {modality} is a {reference.kind}, not a {front.facts.kind}")
    return checked(front.values(reference), f"pair {pair.id!r}, {modality}")


def _read_shar(
    config: Config,
    cuts: Path,
    fronts: Mapping[str, Front],  # noqa: ARG001 - the same for all kinds
    facts: Mapping[str, ModalityFacts],
    skipped: list[dict[str, str]],
) -> Rows:
    assert isinstance(config.pairs, Shar)
    for row in shar_array_pairs(cuts, config.pairs.fields):
        try:
            if isinstance(row, Skip):
                raise row
            pair, arrays = row
            yield (
                pair,
                {
                    modality: positions(arrays[modality], f"cut {pair.id}, {modality}", fact.size)
                    for modality, fact in facts.items()
                },
            )
        except Skip as error:
            skipped.append({"id": "", "reason": str(error)})


if __name__ == "__main__":
    main(Config, make_pairs, "recipes.code_matching.pairs")
