"""Archives of games that hold sounds: WAD (id Software) and CAT (Transport Tycoon)."""

import io
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile


def wad_lumps(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each entry of a WAD."""
    data = path.read_bytes()
    _, count, directory = struct.unpack("<4sII", data[:12])
    for entry in range(count):
        start, size, name = struct.unpack_from("<II8s", data, directory + 16 * entry)
        yield name.rstrip(b"\0").decode("ascii", "replace"), data[start : start + size]


def doom_sound(lump: bytes) -> tuple[np.ndarray, int] | None:
    """Decode a sound of a WAD, 8-bit samples between two pads of 16; None if it is none.

    Returns:
        (samples,) in [-1, 1], and the rate in Hz.
    """
    if len(lump) < 8 + 32:
        return None
    kind, rate, count = struct.unpack_from("<HHI", lump)
    if kind != 3 or count + 8 > len(lump):
        return None
    samples = np.frombuffer(lump, np.uint8, count - 32, offset=8 + 16)
    return (samples.astype(np.float32) - 128) / 128, rate


def cat_sounds(path: Path) -> Iterator[tuple[str, np.ndarray, int]]:
    """Yield title, samples (samples, channels) and rate of each sound of a CAT."""
    data = path.read_bytes()
    first = struct.unpack_from("<I", data)[0] & 0x7FFFFFFF
    for entry in range(first // 8):
        offset, size = struct.unpack_from("<II", data, 8 * entry)
        offset &= 0x7FFFFFFF
        length = data[offset]
        title = data[offset + 1 : offset + 1 + length].rstrip(b"\0").decode("utf-8", "replace")
        wave = data[offset + 1 + length : offset + 1 + length + size]
        try:
            samples, rate = soundfile.read(io.BytesIO(wave), dtype="float32", always_2d=True)
        except soundfile.LibsndfileError:
            continue
        yield title, samples, rate
