"""Receipts of shards: what a stage has written, and of what, so that damage is found afterwards.

A stage leaves `receipts/000012.json` of each shard: the size and the SHA-256 of every file it
wrote, and a checksum of the files it read.
"""

import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from audiossl.atomic_files import read_object
from audiossl.data.columns import FOLDER, read_part
from audiossl.digests import BLOCK, sha256_of
from audiossl.errors import UserError

RECEIPTS = "receipts"


def described(path: Path) -> dict[str, Any]:
    """Describe a file for a receipt: its size, and the SHA-256 of its content."""
    return {"size": path.stat().st_size, "sha256": sha256_of(path)}


def described_sources(paths: Iterable[Path]) -> dict[str, Any]:
    """Describe the files a shard is made from: their size, and a CRC-32 of their content.

    What cannot be read counts as empty: why it cannot is a matter of the stage.
    """
    size, checksum = 0, 0
    for path in paths:
        try:
            for block in _blocks(path) if path.is_file() else ():
                size, checksum = size + len(block), zlib.crc32(block, checksum)
        except OSError:
            continue
    return {"bytes": size, "crc32": f"{checksum:08x}"}


def is_whole(path: Path, entry: Any, *, content: bool) -> bool:
    """Whether a file is as its receipt describes it: by its size, and by its content if asked."""
    if not (isinstance(entry, dict) and entry.keys() >= {"size", "sha256"} and path.is_file()):
        return False
    if path.stat().st_size != entry["size"]:
        return False
    return not content or sha256_of(path) == entry["sha256"]


def checked_files(folder: Path) -> Iterator[tuple[Path, str]]:
    """Compare everything that a stage wrote with its receipts.

    Args:
        folder: Output of a stage that works in shards.

    Yields:
        Every file, and what is wrong with it; "" if nothing is.

    Raises:
        UserError: It has no receipts.
    """
    receipts = sorted((folder / RECEIPTS).glob("*.json"))
    if not receipts:
        raise UserError(f"{folder}: has no receipts: is it the output of a stage that has shards?")
    for receipt in receipts:
        try:
            files = read_object(receipt, files=dict)["files"]
        except UserError as error:
            yield receipt, str(error).removeprefix(f"{receipt}: ")
            continue
        for name, entry in files.items():
            yield folder / name, _fault(folder / name, entry)
    yield from _joined_files(folder)


def _fault(path: Path, entry: Any) -> str:
    if is_whole(path, entry, content=True):
        return ""
    if not path.is_file():
        return "missing"
    if not is_whole(path, entry, content=False):
        return f"{path.stat().st_size} bytes, not as long as it was written"
    return "its content is not what was written"


def _joined_files(folder: Path) -> Iterator[tuple[Path, str]]:
    """Compare columns of all shards, which have no receipt, with those of each that they are of."""
    for joined in sorted((folder / FOLDER).glob("*/*.npy")):
        parts = sorted((folder / "parts").glob(f"{joined.parent.name}.*.columns"))
        try:
            whole = np.load(joined, mmap_mode="r" if joined.stat().st_size > _SMALL else None)
            pieces = [read_part(part)[joined.stem] for part in parts]
            same = np.array_equal(whole, np.concatenate(pieces)) if pieces else True
        except (OSError, ValueError, KeyError, EOFError, UserError) as error:
            yield joined, f"cannot be read ({error})"
            continue
        yield joined, "" if same else "differs from the columns of the shards"


_SMALL = 128


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block
