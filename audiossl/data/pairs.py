"""Pairs: clips in several modalities, and where each of them is stored.

One form for all kinds, a line of JSON a pair:

    {"id": "song/0/drums", "concept": "song/0", "group": "song", "labels": {"split": "train"},
     "modalities": {"mixture": {"kind": "sound", "place": "song", "start": 0.0, "duration": 2.0},
               "stem": {"kind": "sound", "place": "song", "field": "drums", ...}}}

Each is a sound (a cut of a corpus, or one of its stems), a text, a score (MIDI) or an array (.npy,
computed elsewhere: images, video, text). Pairs of one concept are partners of each other: two
readings of a text, say. They are never negatives, and to find one of them is no mistake.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from audiossl.data.lines import text_lines
from audiossl.earlier_names import renamed
from audiossl.errors import Skip, UserError, did_you_mean

Kind = Literal["sound", "text", "score", "array"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Reference:
    """Where one modality of a pair is stored."""

    kind: Kind
    place: str
    """Id of a cut; the text itself; path of a MIDI file; path of an .npy file."""
    field: str = "recording"
    """Field of a cut: the recording, or one of its stems."""
    start: float = 0.0
    """Seconds into the cut or the score."""
    duration: float | None = None
    """Seconds; to the end if None."""
    row: int | None = None
    """Row of an array that holds many clips; the whole array is one clip if None."""

    def __post_init__(self) -> None:
        """Check types and ranges, which come from manifests.

        Raises:
            UserError: A value makes no sense.
        """
        for name in _EXPECTED:
            _check(name, getattr(self, name))


@dataclass(frozen=True)
class Pair:
    """A clip and its modalities."""

    id: str
    """Unique in the manifest."""
    modalities: Mapping[str, Reference]
    concept: str
    """Pairs with the same are partners; by default the id, and there are none."""
    group: str
    """Unit of resampling for intervals, never divided between splits: song, recording, text."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Speaker, stem, split, ... by name."""


def pair_row(pair: Pair) -> dict[str, Any]:
    """Write a pair as what JSON can hold, without what is as it is by default."""
    modalities = {modality: _without_defaults(ref) for modality, ref in pair.modalities.items()}
    return {**asdict(pair), "modalities": modalities, "labels": dict(pair.labels)}


def read_pairs(path: str | Path, modalities: tuple[str, ...] = ()) -> Iterator[Pair | Skip]:
    """Read a manifest of pairs, one at a time; a pair that cannot be used comes as a `Skip`.

    Args:
        path: A .jsonl file.
        modalities: Modalities that every pair must have.

    Raises:
        UserError: The file cannot be read, or a line of it is no JSON.
    """
    path = Path(path)
    seen: set[str] = set()
    for where, line in text_lines(path):
        if not line.strip():
            continue
        pair = _pair_or_skip(_row(line, where), where, modalities)
        if isinstance(pair, Pair) and pair.id in seen:
            pair = Skip(f"{where}: pair {pair.id!r} stands there a second time: rename one")
        elif isinstance(pair, Pair):
            seen.add(pair.id)
        yield pair


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON ({error})") from error
    if not isinstance(row, dict):
        raise UserError(
            f"{where}: expected an object with id and modalities, found {line.strip()!r}"
        )
    return renamed({name: value for name, value in row.items() if value is not None})


def _pair_or_skip(row: dict[str, Any], where: str, modalities: tuple[str, ...]) -> Pair | Skip:
    identity = str(row.get("id", f"line-{where.rpartition(' ')[2]}"))
    places, labels = row.get("modalities", {}), row.get("labels", {})
    if not isinstance(places, dict) or not isinstance(labels, dict):
        return Skip(f"{where}: pair {identity!r}: modalities and labels are no objects")
    missing = [modality for modality in modalities if not places.get(modality)]
    if missing or len(places) < 2:
        lacking = f"no modality {missing[0]!r}" if missing else "fewer than two modalities"
        return Skip(f"{where}: pair {identity!r} has {lacking} (it has {', '.join(places) or '-'})")
    try:
        references = {modality: _reference(places[modality], where) for modality in places}
    except UserError as error:
        return Skip(str(error))
    return Pair(
        identity,
        references,
        concept=str(row.get("concept", identity)),
        group=str(row.get("group", row.get("concept", identity))),
        labels={str(key): str(value) for key, value in labels.items() if value is not None},
    )


def _reference(row: Any, where: str) -> Reference:
    if not isinstance(row, dict):
        raise UserError(f"{where}: a modality is no object: {row!r:.60}")
    known = [f.name for f in fields(Reference)]
    for name in row:
        if name not in known:
            raise UserError(f"{where}: unknown field {name!r}{did_you_mean(name, known)}")
    if row.get("kind") not in KINDS or not isinstance(row.get("place"), str):
        raise UserError(
            f"{where}: a modality needs a kind ({', '.join(KINDS)}) and a place, found {row!r}"
        )
    # Tools that write null mean that they have nothing to say.
    given = {name: value for name, value in row.items() if value is not None}
    for name, value in given.items():
        try:
            _check(name, value)
        except UserError as error:
            raise UserError(f"{where}: {error}") from error
    for name in given.keys() & {"start", "duration"}:
        given[name] = float(given[name])
    return Reference(**given)


_EXPECTED = {
    "field": "a name",
    "start": "seconds from 0 up",
    "duration": "seconds above 0",
    "row": "a whole number from 0 up",
}


def _check(name: str, value: Any) -> None:
    if name not in _EXPECTED or (value is None and name in ("duration", "row")):
        return
    if name == "field":
        valid = isinstance(value, str)
    elif name == "row":
        valid = type(value) is int and value >= 0
    else:
        valid = type(value) in (int, float) and math.isfinite(value)
        valid = valid and (value > 0 if name == "duration" else value >= 0)
    if not valid:
        raise UserError(f"{name} {value!r:.60}: expected {_EXPECTED[name]}")


def _without_defaults(reference: Reference) -> dict[str, Any]:
    defaults = {f.name: f.default for f in fields(Reference)}
    return {k: v for k, v in asdict(reference).items() if v != defaults[k]}
