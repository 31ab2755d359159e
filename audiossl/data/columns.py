"""Columns: what must be known of each cut without opening it, as arrays that are mapped to memory.

A folder `columns/` beside the shards holds one numpy file per column, in the order of the shards.
Shards are written with the rows of their own columns; the stage puts them together at its end.
"""

import functools
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from audiossl.atomic_files import atomic_write, reading
from audiossl.errors import UserError

FOLDER = "columns"


def write_part(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Write the columns of one shard."""
    buffer = io.BytesIO()
    # Not np.savez: its zip entries carry the time, and the same columns would give other bytes.
    for name in sorted(columns):
        header = f"{name}\n".encode()
        buffer.write(header)
        np.lib.format.write_array(buffer, np.ascontiguousarray(columns[name]), allow_pickle=False)
    with atomic_write(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def read_part(path: Path) -> dict[str, np.ndarray]:
    """Read the columns of one shard."""
    columns = {}
    try:
        with path.open("rb") as file:
            while header := file.readline():
                name = header.decode().strip()
                columns[name] = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as columns ({error})") from error
    return columns


def join_parts(folder: Path, name: str, parts: Sequence[Path]) -> None:
    """Put the columns of shards together as `columns/<name>/<column>.npy`."""
    read = [read_part(path) for path in parts]
    for column in read[0] if read else ():
        whole = np.concatenate([part[column] for part in read])
        with (
            atomic_write(folder / FOLDER / name / f"{column}.npy") as temporary,
            temporary.open("wb") as file,
        ):
            np.save(file, whole, allow_pickle=False)


def open_columns(folder: Path, name: str) -> dict[str, np.ndarray]:
    """Map the columns of a folder to memory.

    Raises:
        UserError: They are missing or damaged.
    """
    files = sorted((folder / FOLDER / name).glob("*.npy"))
    if not files:
        raise UserError(f"{folder}: has no columns of {name!r}: is it the output of a stage?")
    columns = {path.stem: _mapped(path) for path in files}
    if name not in _COLUMNS:
        return columns
    place = folder / FOLDER / name
    if missing := sorted(_COLUMNS[name].keys() - columns.keys()):
        raise UserError(f"{place}: no {missing[0]}.npy: run the stage that makes {folder} again")
    for column, kinds in _COLUMNS[name].items():
        if columns[column].dtype.kind not in kinds or columns[column].ndim != 1:
            layout = f"{columns[column].dtype} of {columns[column].ndim} axes"
            raise UserError(
                f"{place / column}.npy: damaged ({layout}): run the stage that makes {folder} again"
            )
    return columns


_COLUMNS = {
    "cuts": {"id": "S", "num_samples": "i", "recording": "i", "shard": "i"},
    "recording": {"offset": "iu", "size": "iu", "gain": "f"},
}
"""Columns that every corpus has, and the kinds of numpy's types they may be of."""


def _mapped(path: Path) -> np.ndarray:
    # An empty array has nothing to map.
    mode: Literal["r"] | None = None if path.stat().st_size <= 128 else "r"
    with reading(path, "column of a corpus"):
        column: np.ndarray = np.load(path, mmap_mode=mode, allow_pickle=False)
    return column


def map_file(path: Path) -> np.ndarray:
    """Map a shard to memory, as bytes; a process keeps the last ones it used.

    Raises:
        UserError: It is missing or empty.
    """
    try:
        now = path.stat()
        return _mapped_file(path, (now.st_dev, now.st_ino, now.st_mtime_ns, now.st_size))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: shard is missing or empty ({error}): run its stage again"
        ) from error


# A path may come to mean another file, made anew or below another working folder: the file itself
# is the key.
@functools.lru_cache(maxsize=256)
def _mapped_file(path: Path, file: tuple[int, ...]) -> np.ndarray:  # noqa: ARG001
    return np.memmap(path, np.uint8, mode="r")
