"""Tars of samples as webdataset has them: `key.flac` and `key.json` beside it, as X-ARES uses.

Nothing is unpacked: an item remembers where in the tar its audio lies.
"""

import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from audiossl.audio.listing import SUFFIXES
from audiossl.data.items import Item, without_duplicates
from audiossl.errors import UserError


def tar_items(folder: str | Path, splits: Mapping[str, str]) -> list[Item]:
    """List the samples of tars: the fields of each one's JSON are its labels, `split` among them.

    Args:
        folder: Where the tars are.
        splits: Name of each split, and the pattern of the names of its tars.

    Raises:
        UserError: A split has no tar, or a tar or a JSON in it is damaged.
    """
    folder = Path(folder)
    items: list[Item] = []
    for split, pattern in splits.items():
        paths = sorted(folder.glob(pattern))
        if not paths:
            raise UserError(f"{folder}: split {split!r} is missing: there is no {pattern} in it")
        for path in paths:
            items += _items(path, split)
    return without_duplicates(items)


def fold_patterns(folder: str | Path) -> dict[str, str]:
    """Find the folds of a task of X-ARES (`wds-audio-fold-<k>-*.tar`): name to pattern.

    Raises:
        UserError: There are none.
    """
    stem = "wds-audio-fold-"
    folds = {path.name.removeprefix(stem).split("-")[0] for path in Path(folder).glob(f"{stem}*")}
    if not folds:
        raise UserError(f"{folder}: no folds in it ({stem}<k>-*.tar): name its splits")
    return {f"fold-{fold}": f"{stem}{fold}-*.tar" for fold in sorted(folds, key=_numeric)}


def _numeric(name: str) -> tuple[int, str]:
    return (int(name) if name.isdigit() else -1, name)


def _items(path: Path, split: str) -> Iterator[Item]:
    audio: dict[str, tarfile.TarInfo] = {}
    labels: dict[str, dict[str, str]] = {}
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                base, dot, suffix = member.name.rpartition("/")[2].partition(".")
                key = member.name[: len(member.name) - len(dot + suffix)] if base else ""
                if member.isfile() and f".{suffix.lower()}" in SUFFIXES:
                    audio[key] = member
                elif member.isfile() and suffix == "json" and (file := tar.extractfile(member)):
                    labels[key] = _labels(json.loads(file.read()))
    except (tarfile.TarError, OSError, EOFError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: cannot be read as a tar of samples ({error})") from error
    if not audio:
        raise UserError(f"{path}: no audio in it (looked for {' '.join(sorted(SUFFIXES))})")
    for key, member in audio.items():
        suffix = member.name.rpartition(".")[2]
        yield Item(
            f"{split}/{key}.{suffix}", str(path), span=(member.offset_data, member.size),
            labels={**labels.get(key, {}), "split": split},
        )  # fmt: skip


def _labels(fields: Mapping[str, Any]) -> dict[str, str]:
    """Write fields as labels; of lists, all values."""
    return {
        name: "|".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in fields.items()
        if not isinstance(value, dict)
    }
