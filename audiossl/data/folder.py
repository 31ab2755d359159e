"""Items from a folder of audio, with labels from a CSV or TSV if there are any.

A folder inside it that holds a file named `mixture` is one recording, and so is a folder that the
labels name: the other audio files in it are its stems, and without a mixture their sum is one.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from audiossl.data.items import Item, without_duplicates
from audiossl.errors import UserError, did_you_mean

_COMMON = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au")
SUFFIXES = frozenset((*_COMMON, ".snd", ".w64", ".caf", ".rf64", ".m4a", ".mp4", ".wma"))
"""Names that promise audio; a file of another name is used if the labels name it."""
MIXTURE = "mixture"


def folder_items(
    folder: Path, labels: Sequence[Path] = (), *, only_labeled: bool = False
) -> list[Item]:
    """List the recordings of a folder, in the order of their names.

    Args:
        folder: Where the audio is, at any depth.
        labels: Tables, CSV or by their suffix TSV, with a header; the column `path` (relative to
            `folder`) names the recording, the others label it.
        only_labeled: Leave out what the labels do not name.

    Raises:
        UserError: The folder is missing or holds no audio, or the labels have no column `path`.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of audio")
    rows = _rows(labels)
    sources = {} if only_labeled else {str(p.relative_to(folder)): p for p in _sources(folder)}
    sources |= {name: folder / name for name in rows if name not in sources}
    if not sources:
        raise UserError(f"{folder}: no audio files in it (looked for {' '.join(sorted(SUFFIXES))})")
    named = (_item(name, sources[name], rows.get(name, {})) for name in sorted(sources))
    return without_duplicates(named)


def read_labels(path: Path) -> dict[str, dict[str, str]]:
    """Read a table of labels: `path` of each recording to its other columns, empty ones left out.

    Raises:
        UserError: The file cannot be read, has no column `path`, or names a recording twice.
    """
    delimiter = "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter=delimiter)
            columns = reader.fieldnames or []
            if "path" not in columns:
                raise UserError(
                    f"{path}: no column 'path' in its header ({', '.join(columns)})"
                    f"{did_you_mean('path', columns)}"
                )
            return _by_path(path, reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as a table of labels ({error})") from error


def stem_files(folder: Path) -> dict[str, Path]:
    """Find the audio files of a folder that is one recording: name without suffix to path."""
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    return {path.stem: path for path in files}


def _rows(tables: Sequence[Path]) -> dict[str, dict[str, str]]:
    rows: dict[str, dict[str, str]] = {}
    for table in tables:
        for name, labels in read_labels(table).items():
            if name in rows:
                raise UserError(f"{table}: labels {name!r}, as an earlier table does")
            rows[name] = labels
    return rows


def _by_path(path: Path, reader: "csv.DictReader[str]") -> dict[str, dict[str, str]]:
    rows: dict[str, dict[str, str]] = {}
    for row in reader:
        name = row.pop("path")
        if None in row or None in row.values():
            raise UserError(
                f"{path}, line {reader.line_num}: {name!r} has another number of columns than the "
                "header: quote what contains the delimiter"
            )
        if name in rows:
            raise UserError(f"{path}, line {reader.line_num}: {name!r} is labeled a second time")
        rows[name] = {column: value for column, value in row.items() if value}
    return rows


def _sources(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            if MIXTURE in stem_files(path):
                yield path
            else:
                yield from _sources(path)
        elif path.suffix.lower() in SUFFIXES:
            yield path


def _item(name: str, source: Path, labels: dict[str, str]) -> Item:
    problem = "" if source.exists() else f"{source}: labels name it, but there is no such file"
    identity = labels.get("id") or (name if source.is_dir() else str(Path(name).with_suffix("")))
    return Item(identity, str(source), labels={**labels, "path": name}, problem=problem)
