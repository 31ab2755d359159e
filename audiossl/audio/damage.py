"""Whether an audio file holds what it promises; libsndfile reads half of one without a word."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import soundfile

from audiossl.audio.joined import joined, mp3_bytes, skip_tags
from audiossl.errors import Skip

# Writers to a pipe cannot state the size in advance and promise the largest.
_UNKNOWN_SIZE = 0x7FFF0000
_SIZES = re.compile(
    r"^\s*(?P<chunk>[\w ]+?)\s*:\s*(?P<promised>\d+) \(should be (?P<present>\d+)\)", re.M
)
_LARGEST_OGG_PAGE = 27 + 255 + 255 * 255
_MP3_TOLERANCE = 3  # frames by which a length estimated from the bit rate may be off
_MP3_TABLES = (b"Xing", b"Info", b"VBRI")
_MP3_TAGS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3")
_MP3_KBITS = (
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG 1
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # MPEG 2 and 2.5
)
_MP3_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


def count_samples(path: Path, file: soundfile.SoundFile) -> int:
    """Count the samples of a file that opened well, and raise if it lacks some that it promises.

    What is compared: chunk sizes with the size of the file (wav, aiff, au, w64), the mark of the
    last page (ogg), frames one by one where the header has no table of them (mp3). FLAC says how
    many samples there are, which the reader compares with what it could decode.

    Returns:
        Samples per channel: what libsndfile says, except where that is an estimate.

    Raises:
        Skip: The file is truncated or damaged, or cannot be read to its end.
    """
    if file.format == "MP3":
        return _count_mp3(path, file)
    if file.format == "OGG":
        _check_ogg(path)
    else:
        _check_sizes(path, file.extra_info)
    return file.frames


def truncated(path: Path, extent: str) -> Skip:
    """Describe a file that ends too early."""
    return Skip(f"{path}: truncated ({extent}): copy it again, or allow truncated files")


def _check_sizes(path: Path, log: str) -> None:
    for match in _SIZES.finditer(log):
        promised, present = int(match["promised"]), int(match["present"])
        # The size of the whole container is often wrong by a few bytes; that of the samples is not.
        if match["chunk"] not in ("RIFF", "FORM") and present < promised < _UNKNOWN_SIZE:
            raise truncated(path, f"{present} of {promised} bytes are there")


def _check_ogg(path: Path) -> None:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _LARGEST_OGG_PAGE))
        tail = file.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    num_segments = page[26] if len(page) > 26 else 0
    length = 27 + num_segments + sum(page[27 : 27 + num_segments])
    if len(page) < length or not page[5] & 4:
        raise truncated(path, "its last page is missing")


def _count_mp3(path: Path, file: soundfile.SoundFile) -> int:
    with path.open("rb") as stream:
        frames = _mp3_frames(stream)
        first = next(frames, b"")
        if not first or any(table in first for table in _MP3_TABLES):
            size = mp3_bytes(first)
            if size:
                _check_mp3_end(path, stream, stream.tell() - len(first) + size)
            return file.frames  # exact; the reader finds out if fewer can be decoded
        per_frame = 1152 if first[1] >> 3 & 3 == 3 else 576
        counted = per_frame * (1 + sum(1 for _ in frames))
        end = stream.tell()
        rest = stream.read(16)
        _check_mp3_end(path, stream, end)
    if _mp3_frame_length(rest):
        raise truncated(path, "its last frame is incomplete")
    if rest.strip(b"\0") and not rest.startswith(_MP3_TAGS):
        raise Skip(f"{path}: damaged after {counted} samples: copy it again, or write it anew")
    # Without a table libsndfile takes the length from the first bit rate, and stops there.
    if counted > file.frames + _MP3_TOLERANCE * per_frame:
        raise Skip(
            f"{path}: mp3 of variable bit rate without a table of lengths; the decoder would stop "
            f"after {file.frames} of {counted} samples: write it again (ffmpeg -i ... out.flac)"
        )
    return min(counted, file.frames)


def _check_mp3_end(path: Path, file: BinaryIO, end: int) -> None:
    """Refuse an mp3 that goes on behind byte `end`, where its sound is said to stop."""
    file.seek(end)
    skip_tags(file)
    begin = file.tell()
    # One frame may be there by chance, two are not.
    if len(list(islice(_mp3_frames(file), 2))) == 2:
        raise joined(path, begin)


def _mp3_frames(file: BinaryIO) -> Iterator[bytes]:
    """Yield the layer III frames of a file, and leave it where something else begins."""
    header = file.read(10)
    while header[:3] == b"ID3":
        size = (header[6] & 127) << 21 | (header[7] & 127) << 14 | (header[8] & 127) << 7
        file.seek(size | header[9] & 127, 1)
        header = file.read(10)
    file.seek(-len(header), 1)
    while True:
        frame = file.read(4)
        length = _mp3_frame_length(frame)
        frame += file.read(max(0, length - 4))
        if not length or len(frame) < length:
            file.seek(-len(frame), 1)
            return
        yield frame


def _mp3_frame_length(header: bytes) -> int:
    """Give the bytes of a frame, or 0 if this is no header of layer III with a bit rate."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return 0
    version, bits, rate = header[1] >> 3 & 3, header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or bits in (0, 15) or rate == 3:
        return 0
    kbits = _MP3_KBITS[version != 3][bits]
    slots = 144 if version == 3 else 72
    return slots * kbits * 1000 // _MP3_RATES[version][rate] + (header[2] >> 1 & 1)
