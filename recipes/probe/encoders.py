"""The encoders of a table: those that are asked for, and the rows that every table has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from audiossl.atomic_files import check_name, read_object
from audiossl.errors import UserError, did_you_mean
from audiossl.pretrained.own import CONFIG
from audiossl.pretrained.sources import OWN, Source, parse_source, paths_of, split_sources
from audiossl.probing.predictions import seedless
from recipes.record import digest

_UNLEARNT = ("random", "shuffled", "log_mel_statistics")


@dataclass(frozen=True)
class Row:
    """An encoder in a table."""

    name: str
    source: str
    """Source as `load_encoder` takes it."""
    role: Literal["encoder", "random", "log-mel"]
    """Role in the table: asked for, or one of the baselines."""


def with_baselines(
    encoders: Mapping[str, str], seeds: Sequence[int], copied: Sequence[str] | None = None
) -> list[Row]:
    """Add log-mel statistics and, for every architecture, an encoder that was never trained.

    Args:
        encoders: Name in tables to what `load_encoder` takes.
        seeds: Of the weights of random encoders; several are rows of one system.
        copied: Names of the encoders that get random copies; None: all.

    Raises:
        UserError: A name cannot be a file name, is one of the baselines', or is of no encoder.
    """
    rows = [_row(name, source) for name, source in encoders.items()]
    for name in copied or ():
        if name not in encoders:
            raise UserError(f"random_of: no encoder {name!r}{did_you_mean(name, encoders)}")
    twins: dict[str, Row] = {}
    for row in rows:
        if row.role == "encoder" and (copied is None or row.name in copied):
            own = _own(row.source)
            twin = f"random:{own.place}" if own else f"shuffled:{row.source}"
            architecture = _architecture(own.place) if own else row.source
            name = f"random-{seedless(row.name)}" if twins else "random"
            twins.setdefault(architecture, Row(name, twin, "random"))
    baselines = [_seeded(twin, seed, len(seeds)) for twin in twins.values() for seed in seeds]
    baselines.append(Row("log-mel", "log_mel_statistics:", "log-mel"))
    taken = {row.name for row in rows}
    for baseline in baselines:
        if baseline.name in taken:
            raise UserError(f"encoder name {baseline.name!r} is that of a baseline: choose another")
    return [*rows, *baselines]


def folders_of(encoders: Mapping[str, str]) -> dict[str, Path]:
    """Find the files and folders that sources name: inputs, which may change."""
    folders: dict[str, Path] = {}
    for name, source in encoders.items():
        paths = paths_of(source)
        # With one path, the name that records of earlier runs have for it.
        named = {f"encoders.{name}.{number}": path for number, path in enumerate(paths)}
        folders |= named if len(paths) > 1 else {f"encoders.{name}": path for path in paths}
    return folders


def _seeded(twin: Row, seed: int, count: int) -> Row:
    name = f"{twin.name}#{seed}" if count > 1 else twin.name
    return Row(name, f"{twin.source}#{seed}", "random")


def _own(source: str) -> Source | None:
    """Parse the name of a whole encoder of this package; None for any other."""
    if len(split_sources(source)) > 1:
        return None
    parsed = parse_source(source)
    return parsed if parsed.kind == OWN and parsed.layer is None else None


def _row(name: str, source: str) -> Row:
    check_name(name, "encoder name")
    unlearnt = all(parse_source(part).kind in _UNLEARNT for part in split_sources(source))
    return Row(name, source, "random" if unlearnt else "encoder")


def _architecture(folder: str) -> str:
    path = Path(folder) / CONFIG
    return digest(read_object(path).get("encoder")) if path.exists() else folder
