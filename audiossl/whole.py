"""Files that are either whole or absent: temporary name, fsync, rename."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from audiossl.errors import UserError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on success it takes the place of `path`.

    A crash, an exception or a full disk leaves `path` as it was. The temporary name carries the
    process id, so that two processes that write the same file do not meet.

    Raises:
        UserError: The disk is full or the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with _told(path):
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def begin_folder(path: Path) -> Path:
    """Make an empty folder that `finish_folder` will give its name; leftovers of crashes go.

    Raises:
        UserError: It cannot be made.
    """
    temporary = path.with_name(f".{path.name}.part")
    with _told(path):
        for old in path.parent.glob(".*.part"):
            if old.is_dir():
                shutil.rmtree(old)
        temporary.mkdir(parents=True)
    return temporary


def finish_folder(path: Path) -> None:
    """Give a folder that was begun its name, once everything in it is on disk.

    Raises:
        UserError: The disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.part")
    with _told(path):
        for file in temporary.iterdir():
            descriptor = os.open(file, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        _sync_folder(temporary)
        if path.exists():
            remove_folder(path)
        temporary.replace(path)
        _sync_folder(path.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder that nobody shall take for whole while it is removed."""
    temporary = path.with_name(f".{path.name}.removed.part")
    path.replace(temporary)
    shutil.rmtree(temporary)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, content: str) -> None:
    """Write `content` as UTF-8, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(content, encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        UserError: The file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from error


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Tell the user what cannot be written, and what to do."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}): {_advice(error)}"
        ) from error


def _sync_folder(folder: Path) -> None:
    # The rename itself survives a power cut only once the folder is on disk.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _advice(error: OSError) -> str:
    if error.errno in (28, 122):  # ENOSPC, EDQUOT
        return "free some space and run the same command again; what is finished is kept"
    return "check the path and its permissions"
