"""The training clips of a corpus as Opus, small enough to be carried to another machine.

    python -m egs.debian_packages.local.compact <corpus> <folder> [jobs]

Mono at 16 kHz and about 16 kbit/s: 7 MB an hour. Only clips of the split `train` are written; of
long recordings two stretches of 20 s, and of a score's or a song's excerpt, which are folders of
stems, their sum and, besides, 6 s of one of the stems that sound. <folder> gets archives
part-1.zip, part-2.zip with a random half of the clips each, and labels.csv: unpack the archives
beside the table, and `recipes.prepare.folder` reads what is there.
"""

import csv
import io
import logging
import random
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import soundfile

from audiossl.audio.files import read_waveform
from audiossl.errors import Skip
from egs.utils.tables import write_table

RATE, KBITS = 16000, 16
LONG, STRETCH, STEM = 60, 20, 6
"""Seconds: of a recording of which only stretches are taken, of these, and of a stem."""
PARTS = 2
_log = logging.getLogger("compact")


@dataclass(frozen=True)
class _Piece:
    """What becomes one file."""

    name: str
    content: bytes
    row: dict[str, str]


def pieces_of(corpus: Path, row: dict[str, str]) -> list[_Piece]:
    """Encode what is taken of one clip."""
    try:
        stretches = list(_stretches(corpus / row["path"], random.Random(row["path"])))
    except Skip as reason:
        _log.warning("left out: %s", reason)
        return []
    labels = {name: row[name] for name in ("domain", "split", "group", "package", "licence")}
    stem = row["path"].removeprefix("unpacked/").removeprefix("decoded/")
    return [
        _Piece(f"{stem}{ending}.opus", _opus(waveform), {**labels, "path": f"{stem}{ending}.opus"})
        for ending, waveform in stretches
    ]


def _stretches(path: Path, generator: random.Random) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what is taken of a clip, and how its name ends."""
    if path.is_dir():
        stems = [read_waveform(file, sample_rate=RATE) for file in sorted(path.glob("*.flac"))]
        length = min(map(len, stems))
        yield "", np.sum([stem[:length] for stem in stems], axis=0)
        stem = generator.choice(stems)
        begin = generator.randrange(max(1, len(stem) - STEM * RATE))
        if np.abs(stem[begin : begin + STEM * RATE]).mean() > 1e-3:
            yield "-stem", stem[begin : begin + STEM * RATE]
        return
    whole = read_waveform(path, sample_rate=RATE)
    if len(whole) < LONG * RATE:
        yield "", whole
        return
    for number, middle in enumerate((0.3, 0.7), start=1):
        begin = int(middle * len(whole)) - STRETCH * RATE // 2
        yield f"-{number}", whole[begin : begin + STRETCH * RATE]


def _opus(waveform: np.ndarray) -> bytes:
    file = io.BytesIO()
    # libsndfile's scale of compression is linear in the bit rate, from 256 down to 6 kbit/s.
    level = 1 - (KBITS - 6) / 250
    soundfile.write(
        file, np.clip(waveform, -1, 1), RATE, format="OGG", subtype="OPUS", compression_level=level
    )
    return file.getvalue()


def main(corpus: Path, folder: Path, jobs: int = 1) -> None:
    """Write the archives and their table."""
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", datefmt="%F %T", level="INFO")
    with (corpus / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    random.Random(0).shuffle(rows)
    folder.mkdir(parents=True, exist_ok=True)
    archives = [zipfile.ZipFile(folder / f"part-{n + 1}.zip", "w") for n in range(PARTS)]
    table = []
    with Pool(jobs) as pool:
        encoded = pool.imap(partial(pieces_of, corpus), rows, chunksize=8)
        for number, pieces in enumerate(encoded):
            part = number * PARTS // len(rows)
            for piece in pieces:
                archives[part].writestr(piece.name, piece.content)
                table.append({**piece.row, "part": str(part + 1)})
            if number % 500 == 0:
                _log.info("%d of %d clips", number, len(rows))
    for archive in archives:
        archive.close()
        _log.info("%s: %.1f MB", archive.filename, Path(str(archive.filename)).stat().st_size / 1e6)
    write_table(folder / "labels.csv", table, empty=f"{corpus}: no training clips in labels.csv")


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 4:
        sys.exit(f"usage: python -m {__spec__.name} <corpus> <folder> [jobs]")
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
