"""More audio than there is: other speeds, mixtures, and stems alone and mixed anew.

    python -m egs.debian_packages.local.vary <corpus> [jobs]

Stored features of teachers are those of files as they are, so that speeds and mixtures cannot be
drawn while a student is trained: here they are files. Of the split `train`,

* each sound, up to 10 s: at 0.8 and 1.25 times its speed, with another sound, and with a stretch
  of music, up to 10 dB louder or softer;
* each excerpt of music that has stems: 4 s of one of them at a speed of its own, and 4 s of one
  with stems of one or two other excerpts, as loud within 10 dB;
* every other recording of speech, up to 10 s: at 0.85 or 1.18 times its speed.

<corpus>/varied gets the files, <corpus>/varied.csv their labels: `recipes.prepare.folder` reads
both tables.
"""

import csv
import random
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import soundfile

from audiossl.audio.files import audio_info, read_waveform
from audiossl.audio.resampling import num_resampled, resample_waveform
from audiossl.errors import Skip
from egs.debian_packages.local.clips import loudest
from egs.utils.tables import write_table

RATE, LONGEST, SHORTEST, APART = 16000, 10.0, 0.1, 10.0
"""Hz; seconds of a clip, at most and at least; decibels between the parts of a mixture."""
SPEEDS = {"slow": 80, "fast": 125}
"""Percent of the speed, by the names of files."""
SPEECH_SPEEDS, STEM_SPEEDS = (85, 118), (80, 100, 125)
STEM = 4.0
"""Seconds of a stem."""
COPIED = ("domain", "split", "group", "package", "licence", "collection")

Row = dict[str, str]
Made = Iterator[tuple[str, np.ndarray]]


class TrainingClips:
    """The training rows of each kind, and how each is varied."""

    def __init__(self, folder: Path, rows: Sequence[Row]) -> None:
        """Sort rows."""
        self.folder = folder
        files = [row for row in rows if (folder / row["path"]).is_file()]
        self.sounds = [row for row in files if row["domain"] == "sounds"]
        self.music = [row for row in files if row["domain"] == "music"]
        self.speech = [row for row in files if row["domain"] == "speech"]
        # An excerpt with stems is a folder of them.
        self.stems = [
            row for row in rows if row["domain"] == "music" and (folder / row["path"]).is_dir()
        ]

    def work(self) -> list[tuple[str, int]]:
        """Name everything that is varied."""
        kinds = ("sounds", "stems", "speech")
        return [(kind, number) for kind in kinds for number in range(len(getattr(self, kind)))]


def varied(clips: TrainingClips, work: tuple[str, int]) -> list[Row]:
    """Write what is made of one row; return the labels."""
    kind, number = work
    row, generator = getattr(clips, kind)[number], random.Random(number)
    make = {"sounds": _of_sound, "stems": _of_stems, "speech": _of_speech}[kind]
    try:
        made = list(make(clips, row, generator))
    except Skip:
        return []  # `recipes.prepare.folder` names those that cannot be read
    labels = {name: row[name] for name in COPIED if name in row}
    rows = []
    for name, waveform in made:
        path = f"varied/{kind}-{number:05}-{name}.flac"
        peak = max(1.0, np.abs(waveform).max())
        soundfile.write(clips.folder / path, waveform / peak, RATE)
        rows.append({**labels, "path": path})
    return rows


def _of_sound(clips: TrainingClips, row: Row, generator: random.Random) -> Made:
    waveform = _beginning(clips, row)
    if not waveform.any():
        return
    for name, percent in SPEEDS.items():
        yield name, _at_speed(waveform, percent)
    others = {"sound": generator.choice(clips.sounds)}
    if clips.music:
        others["music"] = generator.choice(clips.music)
    for name, other in others.items():
        stretch = _stretch(clips.folder / other["path"], len(waveform), generator)
        yield name, _mixed(waveform, np.resize(stretch, len(waveform)), generator)


def _of_stems(clips: TrainingClips, row: Row, generator: random.Random) -> Made:
    others = generator.choices(clips.stems, k=generator.choice((1, 2)))
    alone, mixture, *stems = [_stem(clips, one, generator) for one in (row, row, *others)]
    yield "alone", _at_speed(alone, generator.choice(STEM_SPEEDS))
    for stem in stems:
        length = min(len(mixture), len(stem))
        mixture = _mixed(mixture[:length], stem[:length], generator)
    yield "remix", mixture


def _of_speech(clips: TrainingClips, row: Row, generator: random.Random) -> Made:
    if generator.random() < 0.5 and (waveform := _beginning(clips, row)).any():
        yield "speed", _at_speed(waveform, generator.choice(SPEECH_SPEEDS))


def _beginning(clips: TrainingClips, row: Row) -> np.ndarray:
    """Read as much of a clip as is varied: nothing of one that is too short."""
    waveform = read_waveform(clips.folder / row["path"], sample_rate=RATE)
    return waveform[: round(LONGEST * RATE)] if len(waveform) >= SHORTEST * RATE else waveform[:0]


def _stem(clips: TrainingClips, row: Row, generator: random.Random) -> np.ndarray:
    """Read the loudest stretch of one of an excerpt's stems."""
    path = generator.choice(sorted((clips.folder / row["path"]).glob("*.flac")))
    return loudest(read_waveform(path, sample_rate=RATE), round(STEM * RATE), RATE // 2)


def _at_speed(waveform: np.ndarray, percent: int) -> np.ndarray:
    """Resample as if it had been recorded at another rate."""
    return resample_waveform(waveform, RATE * percent // 100, RATE)


def _mixed(waveform: np.ndarray, other: np.ndarray, generator: random.Random) -> np.ndarray:
    gain = 10 ** (generator.uniform(-APART, APART) / 20)
    return waveform + gain * other * _level(waveform) / max(1e-5, _level(other))


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


def main(folder: Path, jobs: int = 1) -> None:
    """Write the files and their table."""
    if not (folder / "labels.csv").is_file():
        sys.exit(f"{folder}: no labels.csv in it: `egs.debian_packages.local.collect` writes it")
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    (folder / "varied").mkdir(exist_ok=True)
    clips = TrainingClips(folder, rows)
    with Pool(jobs) as pool:
        made = pool.map(partial(varied, clips), clips.work(), chunksize=16)
    table = [row for of_one in made for row in of_one]
    write_table(folder / "varied.csv", table, empty=f"{folder}: no training clips in labels.csv")


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(f"usage: python -m {__spec__.name} <corpus> [jobs]")
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
