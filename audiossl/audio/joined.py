"""Files that were joined end to end: decoders take the first one for the whole, without a word."""

import mmap
import struct
from pathlib import Path
from typing import BinaryIO

from audiossl.errors import Skip

_FLAC = b"fLaC\x00\x00\x00\x22"  # its marker, and the only size that a first block may have
_OGG_PAGE = struct.Struct("<4sBBqIIIB")
_BEGINS = 2  # bit of a page that begins a stream
_MP3_TABLES = {b"Xing": (4, 8), b"Info": (4, 8), b"VBRI": (None, 10)}
"""Where, behind the name of a table, its flags and the number of bytes of the sound are."""


def check_alone(path: Path, container: str) -> None:
    """Refuse a file that another one follows.

    Args:
        path: A FLAC, Ogg or W64. Of mp3, `count_samples` finds out; libsndfile refuses the others.
        container: As libsndfile names it.

    Raises:
        Skip: There is more sound behind what is decoded.
    """
    find_next = _NEXT.get(container)
    if find_next is None:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        place = find_next(content)
    if place > 0:
        raise joined(path, place)


def joined(path: Path, place: int) -> Skip:
    """Describe a file in which another one begins at byte `place`."""
    return Skip(
        f"{path}: several files joined into one, of which the decoder would read the first (the "
        f"next begins at byte {place}): split them, or write it again (ffmpeg -i ... out.flac)"
    )


def mp3_bytes(frame: bytes) -> int | None:
    """Find how many bytes of sound the table in a first frame tells of; None if it does not."""
    for name, (flags, size) in _MP3_TABLES.items():
        place = frame.find(name)
        if place < 0 or len(frame) < place + size + 8:
            continue
        if flags is None:
            return int.from_bytes(frame[place + size : place + size + 4], "big")
        content = int.from_bytes(frame[place + 4 : place + 8], "big")
        # Before the bytes stands the number of frames, if that is there.
        first = place + 8 + (4 if content & 1 else 0)
        return int.from_bytes(frame[first : first + 4], "big") if content & 2 else None
    return None


def skip_tags(file: BinaryIO) -> None:
    """Go behind the tags that follow the sound of an mp3."""
    while True:
        place, head = file.tell(), file.read(32)
        if head.startswith(b"TAG"):
            size = 128
        elif head.startswith(b"APETAGEX") and len(head) == 32:
            size = 32 + int.from_bytes(head[12:16], "little")
        elif head.startswith(b"ID3") and len(head) >= 10:
            size = 10 + sum((head[6 + i] & 127) << 7 * (3 - i) for i in range(4))
        else:
            file.seek(place)
            return
        file.seek(place + size)


def _next_ogg(content: mmap.mmap) -> int:
    """Find where a stream of an Ogg begins after another has; 0 if none does."""
    place, begun = 0, False
    while place + 27 <= len(content):
        mark, _, flags, _, _, _, _, count = _OGG_PAGE.unpack_from(content, place)
        if mark != b"OggS":
            return 0
        # Streams that sound together all begin before any of them goes on.
        if flags & _BEGINS and begun:
            return place
        begun = begun or not flags & _BEGINS
        place += 27 + count + sum(content[place + 27 : place + 27 + count])
    return 0


def _next_flac(content: mmap.mmap) -> int:
    return content.find(_FLAC, 8)


def _next_w64(content: mmap.mmap) -> int:
    end = int.from_bytes(content[16:24], "little")
    place = end + -end % 8
    return place if content[place : place + 16] == content[:16] else 0


_NEXT = {"FLAC": _next_flac, "OGG": _next_ogg, "W64": _next_w64}
"""What finds where a second file begins; 0 or below if none does."""
