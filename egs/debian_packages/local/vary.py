"""More sounds than there are: played slower and faster, and mixed with others and with music.

    python -m egs.debian_packages.local.vary <corpus> [jobs]

Stored features of teachers are those of files as they are, so that speeds and mixtures cannot be
drawn while a student is trained: here they are files. Of each sound of the split `train`, up to
10 s: at 0.8 and 1.25 times its speed, with another sound, and with a stretch of music, up to 10 dB
louder or softer. <corpus>/varied gets the files, <corpus>/varied.csv their labels:
`recipes.prepare.folder` reads both tables.
"""

import csv
import random
import sys
from collections.abc import Iterator
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import soundfile

from audiossl.audio.files import audio_info, read_waveform
from audiossl.audio.resampling import num_resampled, resample_waveform
from audiossl.errors import Skip
from egs.utils.tables import write_table

RATE, LONGEST, SHORTEST, APART = 16000, 10.0, 0.1, 10.0
"""Hz; seconds of a sound, at most and at least; decibels between the parts of a mixture."""
SPEEDS = {"slow": 80, "fast": 125}
"""Percent of the speed, by the names of files."""

Row = dict[str, str]


def varied(corpus: Path, sounds: list[Row], music: list[Row], number: int) -> list[Row]:
    """Write what is made of one sound; return the labels."""
    row, generator = sounds[number], random.Random(number)
    labels = {name: row[name] for name in ("domain", "split", "group", "package", "licence")}
    try:
        made = list(
            _made(corpus, row, generator.choice(sounds), generator.choice(music), generator)
        )
    except Skip:
        return []  # `recipes.prepare.folder` names those that cannot be read
    rows = []
    for name, waveform in made:
        path = f"varied/{number:05}-{name}.flac"
        soundfile.write(corpus / path, waveform / max(1.0, np.abs(waveform).max()), RATE)
        rows.append({**labels, "path": path})
    return rows


def _made(
    corpus: Path, row: Row, sound: Row, music: Row, generator: random.Random
) -> Iterator[tuple[str, np.ndarray]]:
    waveform = read_waveform(corpus / row["path"], sample_rate=RATE)[: round(LONGEST * RATE)]
    if len(waveform) < SHORTEST * RATE or not waveform.any():
        return
    for name, percent in SPEEDS.items():
        # Resampled as if it had been recorded at this rate.
        yield name, resample_waveform(waveform, RATE * percent // 100, RATE)
    for name, other in (("sound", sound), ("music", music)):
        beside = np.resize(
            _stretch(corpus / other["path"], len(waveform), generator), len(waveform)
        )
        gain = 10 ** (generator.uniform(-APART, APART) / 20)
        yield name, waveform + gain * beside * _level(waveform) / max(1e-5, _level(beside))


def _stretch(path: Path, num_samples: int, generator: random.Random) -> np.ndarray:
    """Read as many samples somewhere in a file, or what it has."""
    info = audio_info(path)
    room = num_resampled(info.num_samples, info.sample_rate, RATE) - num_samples
    if room <= 0:
        return read_waveform(path, sample_rate=RATE)
    start = generator.randrange(room)
    return read_waveform(path, sample_rate=RATE, start=start / RATE, duration=num_samples / RATE)


def _level(waveform: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(waveform))))


def main(corpus: Path, jobs: int = 1) -> None:
    """Write the files and their table."""
    with (corpus / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    (corpus / "varied").mkdir(exist_ok=True)
    sounds = [row for row in rows if row["domain"] == "sounds"]
    music = [row for row in rows if row["domain"] == "music" and (corpus / row["path"]).is_file()]
    with Pool(jobs) as pool:
        made = pool.map(partial(varied, corpus, sounds, music), range(len(sounds)), chunksize=16)
    table = [row for of_sound in made for row in of_sound]
    write_table(corpus / "varied.csv", table, empty=f"{corpus}: no training sounds in labels.csv")


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(f"usage: python -m {__spec__.name} <corpus> [jobs]")
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
