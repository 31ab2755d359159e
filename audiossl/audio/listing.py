"""Which audio files paths, patterns and folders name: audio by its name, or else by its content."""

import glob
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from audiossl.errors import Skip, UserError

_READ = (
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aif", ".aiff", ".aifc", ".au",
    ".snd", ".w64", ".caf", ".rf64", ".sph", ".voc",
)  # fmt: skip
_NAMED = (
    ".m4a", ".m4b", ".mp4", ".wma", ".webm", ".mka", ".aac", ".ac3", ".eac3", ".dts", ".wv", ".ape",
    ".mpc", ".tta", ".amr", ".spx",
)  # fmt: skip
SUFFIXES = frozenset((*_READ, *_NAMED))
"""Names that promise audio, whether it can be read here or is left out by name."""
_CONTAINERS = {b"RIFF": b"WAVE", b"RF64": b"WAVE", b"FORM": b"AIF"}
"""First bytes of files that may hold other things, and what stands at byte 8 where it is audio."""
_MAGIC = (b"fLaC", b"OggS", b".snd", b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"caff")


def list_files(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """List the files that paths, patterns and folders name.

    >>> list_files(["a.wav", "b.wav"])
    [PosixPath('a.wav'), PosixPath('b.wav')]

    Args:
        paths: A file, a pattern ("clips/**/*.wav"), a folder (all audio in it, at any depth), or
            several of them. What patterns and folders hold comes in the order of names.

    Raises:
        UserError: A pattern matches nothing, a folder holds no audio, or there is no path at all.
    """
    names = [paths] if isinstance(paths, (str, Path)) else list(paths)
    files: list[Path] = []
    for name in names:
        path = Path(name).expanduser()
        if path.is_dir():
            files += _in_folder(path)
        elif not glob.has_magic(str(path)) or path.exists():
            files.append(path)
        else:
            files += _matches(path)
    if not files:
        raise UserError("no audio files: give at least one path")
    return files


def is_audio(path: Path) -> bool:
    """Whether a file is called as audio is, or begins as audio does."""
    if path.suffix.lower() in SUFFIXES:
        return True
    # Opening a pipe would wait for whoever writes to it.
    if not holds(path.is_file):
        return False
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return False
    held = _CONTAINERS.get(head[:4])
    return head.startswith(_MAGIC) if held is None else head[8:].startswith(held)


def audio_files(folder: Path) -> Iterator[Path]:
    """Find the audio of a folder at any depth, each file once; see `walk`.

    Raises:
        Skip: A folder in it cannot be read.
    """
    for path, problem in walk(folder):
        if problem is not None:
            raise problem
        yield path


def walk(
    folder: Path, is_one: Callable[[Path, Sequence[str]], bool] = lambda *_: False
) -> Iterator[tuple[Path, Skip | None]]:
    """Find the audio of a folder at any depth, each file once: in its own place before by links.

    Files and folders whose name begins with a dot are left out.

    Args:
        folder: Where to begin.
        is_one: Whether a folder, by its path and the names in it, counts as one file.

    Yields:
        A file, or folder that counts as one, and None; or a folder and why it cannot be read.
    """
    seen: set[str] = set()
    to_do, links = deque([(folder, os.path.realpath(folder), True)]), deque[_Place]()
    while to_do or links:
        path, real, is_folder = to_do.popleft() if to_do else links.popleft()
        if real in seen:
            continue
        seen.add(real)
        try:
            entries = entries_of(path) if is_folder else []
        except Skip as reason:
            yield path, reason
            continue
        if not is_folder or (path != folder and is_one(path, [entry.name for entry in entries])):
            yield path, None
            continue
        for entry in entries:
            place = path / entry.name
            is_inner = holds(entry.is_dir)
            if entry.name.startswith(".") or not (is_inner or is_audio(place)):
                continue
            if entry.is_symlink():
                links.append((place, os.path.realpath(place), is_inner))
            else:
                to_do.append((place, f"{real}/{entry.name}", is_inner))


_Place: TypeAlias = tuple[Path, str, bool]
"""A path, where it is without links, and whether it is a folder."""


def entries_of(folder: Path) -> list["os.DirEntry[str]"]:
    """List a folder by name.

    Raises:
        Skip: It cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise Skip(f"{folder}: cannot be read ({error.strerror}): check its permissions") from error


def holds(test: Callable[[], bool]) -> bool:
    """Ask something of a path; of one that is too long, or in a closed folder, nothing is true."""
    try:
        return test()
    except (OSError, ValueError):
        return False


def _in_folder(folder: Path) -> list[Path]:
    files = sorted(audio_files(folder))
    if not files:
        raise UserError(f"{folder}: holds no audio files")
    return files


def _matches(pattern: Path) -> list[Path]:
    matches = sorted(glob.glob(str(pattern), recursive=True))  # noqa: PTH207 - absolute patterns
    files = [Path(match) for match in matches if not Path(match).is_dir()]
    if not files:
        raise UserError(f"{pattern}: matches no file")
    return files
