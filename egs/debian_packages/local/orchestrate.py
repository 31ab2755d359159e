"""The training scores in other instruments, single notes, and strokes of drums.

    python -m egs.debian_packages.local.orchestrate <corpus> [jobs]

A corpus has some sixty scores for training, each in the instruments that it was written for. Here
of every score of the split `train` VERSIONS passages are rendered, transposed, with programs and
drum kits that are drawn anew: excerpts of all instruments, and of two of their groups alone.
Beside them stand notes and chords of every program, and strokes of every drum kit. Programs that
the benchmark keeps for validation and test are never drawn.

<corpus>/orchestrated gets the files, <corpus>/orchestrated.csv their labels:
`recipes.prepare.folder` reads it beside the other tables.
"""

import csv
import random
import sys
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np

from egs.debian_packages.local.clips import write_flac
from egs.debian_packages.local.midi import (
    DRUMS,
    SPLIT_OF_PROGRAM,
    Score,
    groups_of,
    only_group,
    read_score,
)
from egs.debian_packages.local.music import score_files
from egs.debian_packages.local.render import LOUDNESS, RATE, Synthesizer
from egs.utils.tables import write_table

VERSIONS = 4
"""Passages of a score."""
EXCERPTS = 3
"""Number that are cut from each rendering of a passage; they may overlap."""
SECONDS = 4.0
"""Duration of an excerpt."""
QUARTERS = 40
"""Quarter notes of a passage: 20 s at 120 a minute."""
ALONE = 2
"""Groups of instruments of a passage that are rendered alone."""
PROGRAMS = [n for n in range(120) if SPLIT_OF_PROGRAM[n % 8] == "train"]
"""Programs of General MIDI that are drawn, counted from 0; the last eight are effects."""
KITS = (0, 8, 16, 24, 25, 32, 40, 48)
TRANSPOSED = range(-5, 7)
"""Semitones."""
NOTES = 8
"""Notes and chords of a program."""
CHORDS = ((0,), (0,), (0, 4, 7), (0, 3, 7), (0, 7), (0, 12))
SILENCE = 1e-8
"""Mean power below which a rendering is silent (-80 dBFS)."""
ALL_SOUND_OFF = 120
"""Controller of MIDI."""
TICKS_PER_QUARTER = 480
"""Ticks of a quarter note, half a second long."""
STROKES = range(35, 82)
"""Keys of General MIDI's percussion."""
FONT = {"package": "fluid-soundfont-gm", "licence": "MIT", "split": "train"}

Row = dict[str, str]


def main(folder: Path, jobs: int = 1) -> None:
    """Write the files and their table."""
    if not (folder / "labels.csv").is_file():
        sys.exit(f"{folder}: no labels.csv in it: `egs.debian_packages.local.collect` writes it")
    try:
        Synthesizer(folder)
    except FileNotFoundError as error:
        sys.exit(f"{error}")
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    # A corpus without music lacks columns.
    rendered = [row for row in rows if row.get("kind") == "rendered"]
    known = {(row["collection"], row["work"]): row for row in rendered}
    scores = {name: data for name, data in score_files(folder / "unpacked") if name in known}
    if not scores:
        sys.exit(f"{folder}: no rendered scores in labels.csv, or none of them in unpacked")
    score_work = [
        partial(_score_rows, folder, known[name], data, version)
        for name, data in scores.items()
        for version in range(VERSIONS)
    ]
    note_work = [partial(_note_rows, folder, program) for program in PROGRAMS]
    stroke_work = [partial(_stroke_rows, folder, kit) for kit in KITS]
    work = [*score_work, *note_work, *stroke_work]
    if jobs == 1:
        made = [_done(one) for one in work]
    else:
        with Pool(jobs) as pool:
            made = pool.map(_done, work, chunksize=1)
    table = [row for of_one in made for row in of_one]
    write_table(folder / "orchestrated.csv", table, empty=f"{folder}: all of it is silent")


def reorchestrated(score: Score, generator: random.Random) -> Score:
    """Draw another program for every channel, another kit for the drums, and another key."""
    programs = [generator.choice(PROGRAMS) for _ in range(16)]
    programs[DRUMS] = generator.choice(KITS)
    shift = generator.choice(TRANSPOSED)
    events = [(0, bytes([0xC0 | channel, program])) for channel, program in enumerate(programs)]
    for tick, event in score.events:
        kind, channel = event[0] >> 4, event[0] & 15
        if kind == 0xC:
            continue
        if kind in (0x8, 0x9, 0xA) and channel != DRUMS:
            key = event[1] + shift
            # An octave back is another note, but within what instruments play.
            event = bytes([event[0], key - 12 if key > 127 else max(key, 0), *event[2:]])
        events.append((tick, event))
    return Score(score.division, tuple(events), score.end)


def passage(score: Score, generator: random.Random) -> Score:
    """Draw a passage: notes before it are left out, what sets up its sound is kept."""
    length = QUARTERS * max(1, score.division)
    start = generator.randrange(max(1, score.end - length))
    events = []
    for tick, event in score.events:
        if tick >= start + length:
            break
        if tick >= start or event[0] >> 4 not in (0x8, 0x9, 0xA):
            events.append((max(0, tick - start), event))
    end = min(score.end - start, length)
    # A note that is held when a passage ends would sound for hours.
    events += [(end, bytes([0xB0 | channel, ALL_SOUND_OFF, 0])) for channel in range(16)]
    return Score(score.division, tuple(events), end)


def _done(work: Callable[[], list[Row]]) -> list[Row]:
    return work()


def _score_rows(folder: Path, row: Row, data: bytes, version: int) -> list[Row]:
    """Write excerpts of a score in other instruments; return their labels."""
    kind, name = row["collection"], row["work"]
    generator, synthesizer = random.Random(f"{kind} {name} {version}"), Synthesizer(folder)
    score = reorchestrated(passage(read_score(data), generator), generator)
    groups = groups_of(score)
    alone = generator.sample(groups, min(ALONE, len(groups)))
    parts = {"all": score, **{group: only_group(score, group) for group in alone}}
    rows = []
    for part, content in parts.items():
        samples = synthesizer.render(content)
        for number, excerpt in enumerate(_excerpts(samples, generator)):
            path = f"orchestrated/{kind}-{name}-{version}-{part}-{number}.flac"
            write_flac(folder / path, _levelled(excerpt), RATE)
            labels = ("domain", "split", "group", "package", "licence", "collection")
            rows.append({**{label: row[label] for label in labels}, "path": path})
    return rows


def _excerpts(samples: np.ndarray, generator: random.Random) -> Sequence[np.ndarray]:
    """Draw excerpts that are not silent."""
    size = round(SECONDS * RATE)
    starts = np.arange(0, max(1, len(samples) - size), RATE // 2)
    loud = [s for s in starts.tolist() if np.square(samples[s : s + size]).mean() > SILENCE]
    chosen = generator.sample(loud, min(EXCERPTS, len(loud)))
    return [samples[start : start + size] for start in chosen]


def _note_rows(folder: Path, program: int) -> list[Row]:
    """Write notes and chords of a program: keys, lengths and velocities are drawn."""
    generator, synthesizer = random.Random(program), Synthesizer(folder)
    labels = {"domain": "music", "group": f"program:{program}", "collection": "notes"}
    rows = []
    for number in range(NOTES):
        key, chord = generator.randrange(36, 85), generator.choice(CHORDS)
        ticks, velocity = generator.randrange(200, 2000), generator.randrange(50, 120)
        score = _pressed(0, program, [key + step for step in chord], velocity, ticks)
        path = f"orchestrated/notes-{program}-{number}.flac"
        rows += _sounding(folder, synthesizer, score, {**FONT, **labels, "path": path})
    return rows


def _stroke_rows(folder: Path, kit: int) -> list[Row]:
    """Write every stroke of a kit."""
    synthesizer = Synthesizer(folder)
    labels = {"domain": "sounds", "group": f"kit:{kit}", "collection": "strokes"}
    rows = []
    for key in STROKES:
        score = _pressed(DRUMS, kit, [key], 100, TICKS_PER_QUARTER)
        path = f"orchestrated/strokes-{kit}-{key}.flac"
        rows += _sounding(folder, synthesizer, score, {**FONT, **labels, "path": path})
    return rows


def _sounding(folder: Path, synthesizer: Synthesizer, score: Score, row: Row) -> list[Row]:
    """Write a rendering and return its labels; nothing of a key that an instrument lacks."""
    seconds = score.end / (2 * TICKS_PER_QUARTER)
    samples = synthesizer.render(score)[: round(seconds * RATE)]
    if np.square(samples).mean() < SILENCE:
        return []
    write_flac(folder / row["path"], _levelled(samples), RATE)
    return [row]


def _pressed(channel: int, program: int, keys: Sequence[int], velocity: int, ticks: int) -> Score:
    """Press keys together, with a third of a second of what sounds after them."""
    events = [(0, bytes([0xC0 | channel, program]))]
    events += [(0, bytes([0x90 | channel, key, velocity])) for key in keys]
    events += [(ticks, bytes([0x80 | channel, key, 0])) for key in keys]
    return Score(TICKS_PER_QUARTER, tuple(events), ticks + 300)


def _levelled(samples: np.ndarray) -> np.ndarray:
    level = float(np.sqrt(np.mean(np.square(samples))))
    gain = min(LOUDNESS / max(level, 1e-6), 0.9 / max(float(np.abs(samples).max()), 1e-6))
    return np.float32(gain) * samples


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(f"usage: python -m {__spec__.name} <corpus> [jobs]")
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
