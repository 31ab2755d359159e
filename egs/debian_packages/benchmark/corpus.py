"""The items of the benchmark: `python -m egs.debian_packages.benchmark.corpus <corpus> <output>`.

Of the corpus of `local/collect.py` some hundred clips a task, cut short, and single notes rendered
for it. Each task is a label of its own, given to its items alone. An item that is scored is in the
test split of the corpus, so that an encoder trained on the training split has not seen it, nor
anything of its group; two tasks go further and score sources that no training item is from.
"""

import csv
import hashlib
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from audiossl.audio.files import read_waveform
from egs.debian_packages.local.clips import loudest, write_flac
from egs.debian_packages.local.midi import SPLIT_OF_PROGRAM, Score
from egs.debian_packages.local.render import Synthesizer

RATE = 16_000
SHORTEST = 0.5
"""Seconds of an item; shorter clips are followed by silence."""
WHOLE = 20.0
"""Seconds that hold any sentence."""
MOST = {"train": 400, "valid": 150, "test": 300}
"""Items of a task."""
TRAIN_SPEAKER, TEST_SPEAKER = "gcin_3", "gcin_5"
FAMILIES = ("piano", "mallets", "organ", "guitar", "bass", "strings", "ensemble", "brass", "reed",
            "pipe", "lead", "pad")  # fmt: skip
"""The first twelve families of General MIDI, of eight programs each."""

Row = dict[str, str]


@dataclass(frozen=True)
class Item:
    """What is written of a clip."""

    row: Row
    labels: dict[str, str] = field(default_factory=dict)
    duration: float = 3.0
    """Seconds, at most."""
    file: str = ""
    """Stem of a folder; empty: the clip itself."""

    @property
    def name(self) -> str:
        """Identify what is written: items of several tasks are one if they are of one length."""
        whole = " whole" if self.duration == WHOLE else ""
        return self.row["path"] + self.file + whole


def main(corpus: Path, output: Path) -> None:
    """Write audio and labels.csv."""
    with (corpus / "labels.csv").open(encoding="utf-8", newline="") as file:
        # A corpus of some of the packages lacks columns.
        rows: list[Row] = [defaultdict(str, row) for row in csv.DictReader(file)]
    merged: dict[str, Item] = {}
    for choose in (speakers, languages, syllables, phones, characters, mixtures, sounds, domains):
        for item in choose(rows):
            known = merged.get(item.name, item)
            merged[item.name] = replace(known, labels=known.labels | item.labels)
    stems = [item for row in rows if row["kind"] == "rendered" for item in stems_of(corpus, row)]
    merged |= {item.name: item for item in fewer(stems, MOST)}
    written = [_written(corpus, output, item) for item in merged.values()]
    written += notes(Synthesizer(corpus), output)
    names = list(dict.fromkeys(name for labels in written for name in labels))
    with (output / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, names, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(written)
    counts = Counter((name, row["split"]) for row in written for name in names if row.get(name))
    for name in names:
        sys.stdout.write(f"{name}: {', '.join(f'{counts[name, s]} {s}' for s in MOST)}\n")


def speakers(rows: Iterable[Row]) -> list[Item]:
    """Thirteen readers and actors, other texts."""
    named = [row for row in rows if row["speaker"] and row["package"] != "gcin-voice"]
    return fewer([Item(row, {"speaker": row["speaker"]}) for row in named], MOST)


def languages(rows: Iterable[Row]) -> list[Item]:
    """French, Italian, Russian and Spanish, of other readers and channels than in training."""
    chosen = []
    for row in rows:
        core = row["package"].startswith("asterisk-core") and row["language"] != "en"
        other = row["package"].startswith("asterisk-prompt") or row["package"] == "festvox-ru"
        if (core and row["split"] != "test") or (other and row["split"] == "test"):
            chosen.append(Item(row, {"language": row["language"]}))
    return fewer(chosen, MOST)


def syllables(rows: Iterable[Row]) -> list[Item]:
    """Mandarin syllables that are not in training: initial, rime, and the tone of another voice."""
    chosen = []
    for row in rows:
        if row["package"] != "gcin-voice":
            continue
        symbols = row["text"].rstrip("12345")
        tone = row["text"][len(symbols) :] or "1"
        labels = {"initial": symbols[0], "rime": symbols[-1]}
        unseen = TEST_SPEAKER if row["split"] == "test" else TRAIN_SPEAKER
        chosen.append(Item(row, labels | ({"tone": tone} if row["speaker"] == unseen else {})))
    return fewer(chosen, {"train": 900, "valid": 200, "test": 355})


def phones(rows: Iterable[Row]) -> list[Item]:
    """Timed phones of a Russian reader: every sentence has some seventy."""
    timed = [Item(row, {"phones": row["phones"]}, WHOLE) for row in rows if row["phones"]]
    return fewer(timed, {"train": 60, "valid": 20, "test": 40})


def characters(rows: Iterable[Row]) -> list[Item]:
    """Fifteen comic voices, other taunts."""
    return fewer([Item(r, {"character": r["character"]}) for r in rows if r["character"]], MOST)


def mixtures(rows: Iterable[Row]) -> list[Item]:
    """Instruments of ten seconds of a score, of which half is given; other scores."""
    scored = [Item(row, {"instruments": row["instruments"]}, 5.0)
              for row in rows if row["instruments"]]  # fmt: skip
    return fewer(scored, {"train": 250, "valid": 80, "test": 200})


def sounds(rows: Iterable[Row]) -> list[Item]:
    """Categories of sounds that are not in training."""
    return [Item(row, {"category": row["category"]}) for row in rows if row["category"]]


def domains(rows: Iterable[Row]) -> Iterator[Item]:
    """Speech, music or sound, of the clips of other tasks."""
    rows = list(rows)
    for chosen in (speakers(rows), mixtures(rows), sounds(rows)):
        for item in fewer(chosen, {"train": 150, "valid": 60, "test": 130}):
            yield Item(item.row, {"domain": item.row["domain"]}, item.duration)


def stems_of(corpus: Path, row: Row) -> Iterator[Item]:
    """Instruments alone, of scores that are not in training: at most two of an excerpt."""
    stems = sorted(row["instruments"].split("|"), key=lambda name: _hash(row["path"] + name))
    for name in stems[:2]:
        if (corpus / row["path"] / f"{name}.flac").exists():
            yield Item(row, {"stem": name}, 3.0, name)


def notes(synthesizer: Synthesizer, output: Path) -> list[Row]:
    """Render single notes: their pitch class and their family, of programs not in training."""
    rows = []
    for program in range(8 * len(FAMILIES)):
        split = SPLIT_OF_PROGRAM[program % 8]
        generator = np.random.default_rng(program)
        keys = generator.choice(np.arange(40, 77), 8, replace=False)
        for key in keys.tolist():
            path = output / "audio" / "notes" / f"{program}-{key}.flac"
            if not path.exists():
                write_flac(path, _note(synthesizer, program, key), RATE)
            family = FAMILIES[program // 8]
            rows.append({"path": str(path.relative_to(output)), "split": split,
                         "group": f"program:{program}", "pitch": f"pitch_{key % 12:02d}",
                         "family": family, "package": "fluid-soundfont-gm"})  # fmt: skip
    return rows


def _note(synthesizer: Synthesizer, program: int, key: int) -> np.ndarray:
    """Render a second of a note, at a common level."""
    events = (
        (0, bytes([0xC0, program])),
        (0, bytes([0x90, key, 90])),
        (960, bytes([0x80, key, 0])),
    )
    samples = synthesizer.render(Score(480, events, 1000))[:RATE]
    return np.float32(0.1) * samples / max(float(np.sqrt(np.mean(np.square(samples)))), 1e-6)


def fewer(items: Iterable[Item], most: dict[str, int]) -> list[Item]:
    """Take so many of each split, by the hash of their names."""
    taken: Counter[str] = Counter()
    chosen = []
    for item in sorted(items, key=lambda item: _hash(item.name)):
        split = item.row["split"]
        if taken[split] < most[split]:
            taken[split] += 1
            chosen.append(item)
    return chosen


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _written(corpus: Path, output: Path, item: Item) -> Row:
    """Write the audio of an item; return its row."""
    path = output / "audio" / f"{_hash(item.name)[:16]}.flac"
    if not path.exists():
        read = _read_stem if item.file else _read_clip
        samples = read(corpus / item.row["path"], item)
        least = max(0, round(SHORTEST * RATE) - len(samples))
        write_flac(path, np.pad(samples, (0, least)), RATE)
    labels = {name: item.row[name] for name in ("split", "group", "package", "licence")}
    return {"path": str(path.relative_to(output)), **labels, **item.labels}


def _read_clip(path: Path, item: Item) -> np.ndarray:
    files = sorted(path.glob("*.flac")) if path.is_dir() else [path]
    sources = [read_waveform(file, sample_rate=RATE) for file in files]
    return np.sum(sources, axis=0)[: round(item.duration * RATE)]


def _read_stem(path: Path, item: Item) -> np.ndarray:
    """Read the loudest stretch of a stem."""
    samples = read_waveform(path / f"{item.file}.flac", sample_rate=RATE)
    return loudest(samples, round(item.duration * RATE), RATE // 2)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
