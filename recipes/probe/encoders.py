"""The encoders of a table: those that are asked for, and the rows that every table has."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from audiossl.errors import UserError
from audiossl.pretrained.load import SCHEMES
from audiossl.pretrained.own import CONFIG
from audiossl.probing.predictions import seedless
from audiossl.whole import read_json
from recipes.record import digest

_UNLEARNT = ("random", "shuffled", "log-mel")


@dataclass(frozen=True)
class Row:
    """An encoder in a table."""

    name: str
    source: str
    """What `load_encoder` takes."""
    role: Literal["encoder", "random", "log-mel"]
    """What it is in the table: asked for, or one of the baselines."""


def with_baselines(encoders: Mapping[str, str], seeds: Sequence[int]) -> list[Row]:
    """Add log-mel statistics and, for every architecture, an encoder that was never trained.

    Args:
        encoders: Name in tables to what `load_encoder` takes.
        seeds: Of the weights of random encoders; several are rows of one system.

    Raises:
        UserError: A name cannot be a file name, or is one of the baselines'.
    """
    rows = [_row(name, source) for name, source in encoders.items()]
    twins: dict[str, Row] = {}
    for row in rows:
        if row.role == "encoder":
            kind, place = split_source(row.source)
            own = kind == "audiossl"
            twin = f"random:{place}" if own else f"shuffled:{row.source}"
            architecture = _architecture(place) if own else row.source
            name = f"random-{seedless(row.name)}" if twins else "random"
            twins.setdefault(architecture, Row(name, twin, "random"))
    baselines = [_seeded(twin, seed, len(seeds)) for twin in twins.values() for seed in seeds]
    baselines.append(Row("log-mel", "log-mel:", "log-mel"))
    taken = {row.name for row in rows}
    for baseline in baselines:
        if baseline.name in taken:
            raise UserError(f"encoder name {baseline.name!r} is that of a baseline: choose another")
    return [*rows, *baselines]


def folders_of(encoders: Mapping[str, str]) -> dict[str, Path]:
    """Find the files and folders that sources name: inputs, which may change."""
    found = {}
    for name, source in encoders.items():
        kind, place = split_source(source)
        path = Path(place.rpartition("#")[0] or place)
        if kind == "audiossl" or (place and path.exists()):
            found[f"encoders.{name}"] = path
    return found


def split_source(source: str) -> tuple[str, str]:
    """Tell the kind of an encoder from its place, as `load_encoder` does."""
    kind, separator, place = source.partition(":")
    if not separator or Path(source).exists() or kind not in SCHEMES:
        return "audiossl", source
    return kind, place


def _seeded(twin: Row, seed: int, count: int) -> Row:
    name = f"{twin.name}#{seed}" if count > 1 else twin.name
    return Row(name, f"{twin.source}#{seed}", "random")


def _row(name: str, source: str) -> Row:
    if not re.fullmatch(r"[\w.+#-]+", name):
        raise UserError(f"encoder name {name!r}: use letters, digits and . _ + # -")
    kind = split_source(source)[0]
    return Row(name, source, "random" if kind in _UNLEARNT else "encoder")


def _architecture(folder: str) -> str:
    path = Path(folder) / CONFIG
    return digest(read_json(path).get("encoder")) if path.exists() else folder
