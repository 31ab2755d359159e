"""Which audio files paths, patterns and folders name: audio by its name, or else by its content."""

import glob
import os
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from audiossl.errors import UserError

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
    try:
        with path.open("rb") as file:
            head = file.read(12) if path.is_file() else b""
    except OSError:
        return False
    held = _CONTAINERS.get(head[:4])
    return head.startswith(_MAGIC) if held is None else head[8:].startswith(held)


def audio_files(folder: Path) -> Iterator[Path]:
    """Find the audio of a folder at any depth, each file once, hidden ones and links last or never.

    Files and folders whose name begins with a dot are left out; what lies behind a link is taken
    unless it was found without one.
    """
    seen: set[str] = set()
    to_do, links = deque([folder]), deque[Path]()
    while to_do or links:
        path = to_do.popleft() if to_do else links.popleft()
        real = os.path.realpath(path)
        if real in seen:
            continue
        seen.add(real)
        if not path.is_dir():
            yield path
            continue
        for entry in sorted(path.iterdir()):
            if not entry.name.startswith(".") and (entry.is_dir() or is_audio(entry)):
                (links if entry.is_symlink() else to_do).append(entry)


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
