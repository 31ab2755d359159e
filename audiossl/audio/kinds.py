"""What a file is that libsndfile does not read, by the bytes at its start."""

from pathlib import Path

_NAMES = {
    b"ftyp": "MPEG-4 audio",
    b"\x1a\x45\xdf\xa3": "Matroska or WebM",
    b"\x30\x26\xb2\x75": "WMA",
    b"wvpk": "WavPack",
    b"MAC ": "Monkey's Audio",
    b"MP+": "Musepack",
    b"MPCK": "Musepack",
    b"TTA1": "True Audio",
    b"#!AMR": "AMR",
    b"NIST_1A": "SPHERE of a kind",
    b"\x0b\x77": "AC-3",
    b"\x7f\xfe\x80\x01": "DTS",
    b"\xff\xf1": "AAC",
    b"\xff\xf9": "AAC",
}


def why_unreadable(path: Path) -> str:
    """Say what a file is, and what to do with it."""
    with path.open("rb") as file:
        head = file.read(16)
    for magic, name in _NAMES.items():
        # Of MPEG-4, its size stands first.
        if magic in (head[4:8] if magic == b"ftyp" else head[: len(magic)]):
            return f"{name}, which libsndfile does not read: convert it (ffmpeg -i ... out.flac)"
    return "not audio that libsndfile reads, or damaged at its start: convert or replace it"
