"""Items from a folder of audio, with labels from a CSV or TSV if there are any.

A folder inside it that holds a file named `mixture` is one recording, and so is a folder that the
labels name: the other audio files in it are its stems, and without a mixture their sum is one.

Audio is recognized by its suffix, and a file of another name by its first bytes. A file is one
item, however often links lead to it and however its path is spelled in a table.
"""

import os
import stat
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from audiossl.audio.listing import SUFFIXES as SUFFIXES
from audiossl.audio.listing import entries_of, holds, is_audio, walk
from audiossl.data.items import Item, without_duplicates
from audiossl.data.layout import MIXTURE
from audiossl.data.tables import read_labels as read_labels
from audiossl.errors import Skip, UserError


def folder_items(
    folder: str | Path,
    labels: str | Path | Sequence[str | Path] = (),
    *,
    only_labeled: bool = False,
) -> list[Item]:
    """List the recordings of a folder, in the order of their names.

    Args:
        folder: Where the audio is, at any depth.
        labels: Tables, CSV or by their suffix TSV, with a header; the column `path` (relative to
            `folder`) names the recording, the others label it.
        only_labeled: Leave out what the labels do not name.

    Raises:
        UserError: The folder is missing or holds no audio, or the labels have no column `path`,
            or name a recording twice, or nothing where only labeled audio is asked for.
    """
    folder = Path(folder)
    tables = [labels] if isinstance(labels, (str, Path)) else labels
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of audio")
    rows = _rows([Path(table) for table in tables], folder)
    named = {name for name in rows if holds((folder / name).is_dir)}
    sources: dict[str, Path | Skip] = {}
    if not only_labeled:
        sources = _sources(folder, named)
        rows = _as_listed(rows, sources, folder)
    sources |= {name: folder / name for name in rows if name not in sources}
    if only_labeled and not rows:
        named_by = ", ".join(map(str, tables)) or "there are none"
        raise UserError(
            f"{folder}: only what tables name is asked for, and they name nothing ({named_by}): "
            "give a table with rows"
        )
    if not sources:
        raise UserError(f"{folder}: no audio files in it (looked for {' '.join(sorted(SUFFIXES))})")
    return without_duplicates(
        _item(name, sources[name], rows.get(name, {})) for name in sorted(sources)
    )


def stem_files(folder: str | Path) -> dict[str, Path]:
    """Find the audio files of a folder that is one recording: name without suffix to path.

    Raises:
        Skip: Two files have one name, or the folder cannot be read.
    """
    folder = Path(folder)
    stems: dict[str, Path] = {}
    for path in (folder / entry.name for entry in entries_of(folder)):
        if not is_audio(path):
            continue
        if path.stem in stems:
            raise Skip(f"{path}: has the name of {stems[path.stem].name}: keep one of them")
        stems[path.stem] = path
    return stems


def _rows(tables: Sequence[Path], folder: Path) -> dict[str, dict[str, str]]:
    """Read tables; the rows of one file, by its name within the folder."""
    rows: dict[str, dict[str, str]] = {}
    listed: dict[Path, dict[str, str]] = {}
    for table in tables:
        for written, labels in read_labels(table).items():
            name = _name(folder, _found(folder, written, listed))
            if name == ".":
                raise UserError(f"{table}: {written!r} is the folder itself: name a file in it")
            if name in rows:
                raise UserError(f"{table}: {written!r} is labeled a second time, as {name!r}")
            rows[name] = labels
    return rows


def _as_listed(
    rows: Mapping[str, dict[str, str]], sources: Mapping[str, object], folder: Path
) -> dict[str, dict[str, str]]:
    """Give a row whose path leads through a link the name that its file is listed by."""
    if all(name in sources for name in rows):
        return dict(rows)
    names = {os.path.realpath(folder / name): name for name in sources}
    return {
        name if name in sources else names.get(os.path.realpath(folder / name), name): labels
        for name, labels in rows.items()
    }


def _found(folder: Path, written: str, listed: dict[Path, dict[str, str]]) -> Path:
    """Find the file of a path in a table, also where its accents are coded in the other form."""
    path = folder / written
    if written.isascii() or holds(path.exists):
        return path
    present = Path(folder.anchor) if Path(written).is_absolute() else folder
    for part in Path(written).parts:
        if present not in listed:
            listed[present] = {_composed(entry.name): entry.name for entry in entries_of(present)}
        present /= listed[present].get(_composed(part), part)
    return present


def _name(folder: Path, path: Path) -> str:
    """Name a file by its path within the folder; by its absolute path if it is outside."""
    whole = Path(os.path.abspath(path))  # noqa: PTH100 - links keep their names
    for start in (Path(os.path.abspath(folder)), folder.resolve()):  # noqa: PTH100
        if whole.is_relative_to(start):
            return str(whole.relative_to(start))
    return str(whole)


def _sources(folder: Path, recordings: set[str]) -> dict[str, Path | Skip]:
    """Find every file, or folder that is one recording, by its name within the folder."""

    def is_recording(path: Path, names: Sequence[str]) -> bool:
        if any(Path(name).stem == MIXTURE and is_audio(path / name) for name in names):
            return True
        return str(path.relative_to(folder)) in recordings

    entries = walk(folder, is_recording)
    return {str(path.relative_to(folder)): problem or path for path, problem in entries}


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _item(name: str, source: Path | Skip, labels: dict[str, str]) -> Item:
    if isinstance(source, Skip):
        return Item(_printable(name), _printable(name), problem=_printable(str(source)))
    problem, mode = "", _mode(source)
    if mode is None:
        problem = f"{source}: labels name it, but there is no such file"
    elif _printable(name) != name:
        problem = f"{source}: its name is not UTF-8: rename it (convmv)"
    is_folder = mode is not None and stat.S_ISDIR(mode)
    identity = labels.get("id") or (name if is_folder else str(Path(name).with_suffix("")))
    labels = {**labels, "path": _printable(name)}
    return Item(
        _printable(identity), _printable(str(source)), labels=labels, problem=_printable(problem)
    )


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return None


def _printable(name: str) -> str:
    r"""Write bytes of a name that are not UTF-8 as \xe9."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
