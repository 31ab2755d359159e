"""Atomic writes: files are either whole or absent, by a temporary name, fsync and rename."""

import errno
import glob
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

from audiossl.errors import UserError

_LONGEST_NAME = 100
"""Bytes of a name: a file's may have 255, of which numbers and endings take some."""


def check_name(name: str, what: str) -> None:
    """Refuse a name of the user's that would lead out of the folder of a file it is part of.

    Raises:
        UserError: It is no plain name: empty, very long, or with a slash or other signs in it.
    """
    if not re.fullmatch(r"\w[\w .+#-]*", name) or len(name.encode()) > _LONGEST_NAME:
        raise UserError(
            f"{what} {name!r:.120}: use letters, digits and . _ + # - (it becomes part of the name "
            "of a file)"
        )


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on success it takes the place of `path`.

    A crash, an exception or a full disk leaves `path` as it was. The temporary name carries the
    process id, so that two processes that write the same file do not meet.

    Raises:
        UserError: The disk is full or the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with _write_errors(path):
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_draft(path: Path) -> Iterator[Path]:
    """Yield a place of the same name for a file or folder; on success it is moved to `path`.

    For what is read back before it counts, and is known by its name.

    Raises:
        UserError: It cannot be written.
    """
    folder = begin_folder(path)
    try:
        with _write_errors(path):
            yield folder / path.name
            (folder / path.name).replace(path)
            _sync_folder(path.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed runs left half written in a folder where nobody else is at work."""
    for path in list(folder.rglob(".*.part")):
        _remove(path)


def remove_leftovers_of(path: Path) -> None:
    """Remove what killed processes left of a file; those that are at work on it go on."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        owner = left.name.split(".")[-2]
        if not (owner.isdigit() and _is_alive(int(owner))):
            _remove(left)


def reserve(file: IO[bytes], num_bytes: int) -> None:
    """Make sure of the room on the disk for a file that will be mapped to memory.

    Pages take room only when they are written to, and where there is none the process is killed
    (SIGBUS).

    Raises:
        OSError: There is no room.
    """
    if num_bytes and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, num_bytes)


def begin_folder(path: Path) -> Path:
    """Make an empty folder that `finish_folder` will give its name; leftovers of crashes go.

    Raises:
        UserError: It cannot be made.
    """
    temporary = path.with_name(f".{path.name}.part")
    with _write_errors(path):
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
    with _write_errors(path):
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
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, content: str) -> None:
    """Write `content` as UTF-8, whole or not at all."""
    with atomic_write(path) as temporary:
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
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error})") from error


def read_object(path: Path, **fields: type | tuple[type, ...]) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: The file.
        fields: Names that must be in it, and their types.

    Raises:
        UserError: The file is missing, is not JSON, or has other fields.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected an object of JSON, found {type(content).__name__}")
    for name, kind in fields.items():
        value = content.get(name)
        if (
            name not in content
            or not isinstance(value, kind)
            or (isinstance(value, bool) and kind is int)
        ):
            kinds = kind if isinstance(kind, tuple) else (kind,)
            expected = " or ".join(one.__name__ for one in kinds)
            actual = f"{value!r:.60}" if name in content else "none"
            raise UserError(f"{path}: {name}: expected {expected}, found {actual}: damaged?")
    return content


_OTHERWISE = (
    KeyError, TypeError, ValueError, AttributeError, IndexError, EOFError, RecursionError,
    SyntaxError, TokenError,
)  # fmt: skip
"""What comes up where content is of another type or form; numpy parses headers as Python, too."""


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Name the file where what is read of it is not as it is written: another type, a field less.

    Args:
        path: The file.
        kind: What it should be: "scores of recipes.probe.fit".

    Raises:
        UserError: It is not.
    """
    try:
        yield
    except _OTHERWISE as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        raise UserError(f"{path}: damaged, or no {kind} ({reason}): make it again") from error


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    """Tell the user what cannot be written, and what to do."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}): {_advice(error)}"
        ) from error


def _remove(path: Path) -> None:
    with _write_errors(path):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _sync_folder(folder: Path) -> None:
    # The rename itself survives a power cut only once the folder is on disk.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _advice(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "free some space and run the same command again; what is finished is kept"
    return "check the path and its permissions"
