"""Scores in other instruments are the same music, of training scores and training programs."""

import csv
import random

import numpy as np
import pytest

from audiossl.audio.files import audio_info
from egs.debian_packages.benchmark.corpus import SPLIT_OF_PROGRAM
from egs.debian_packages.local import orchestrate
from egs.debian_packages.local.midi import DRUMS, Score, write_score

QUARTER = 24


def score(quarters=100):
    """A scale on one channel, a beat on that of drums, with a controller before the first note."""
    events = [(0, bytes([0xC0, 40])), (0, bytes([0xB0, 7, 90]))]
    for number in range(quarters):
        start, key = number * QUARTER, 48 + number % 24
        events += [(start, bytes([0x90, key, 80])), (start, bytes([0x90 | DRUMS, 38, 80]))]
        events += [(start + 20, bytes([0x80, key, 0])), (start + 20, bytes([0x89, 38, 0]))]
    return Score(QUARTER, tuple(events), quarters * QUARTER)


def notes(of, channel):
    return [(tick, event[1]) for tick, event in of.events if event[0] == 0x90 | channel]


@pytest.mark.parametrize("seed", range(8))
def test_a_passage_is_a_part_of_the_score_that_ends_silent(seed):
    whole = score()
    part = orchestrate.passage(whole, random.Random(seed))
    assert part.end == orchestrate.QUARTERS * QUARTER
    assert part.events[:2] == whole.events[:2]  # program and volume, whatever its beginning
    keys, all_keys = ([key for _, key in notes(one, 0)] for one in (part, whole))
    assert 39 <= len(keys) <= 41
    assert any(all_keys[n : n + len(keys)] == keys for n in range(24))
    silenced = {
        event[0] & 15 for tick, event in part.events if tick == part.end and event[1] == 120
    }
    assert silenced == set(range(16))
    assert all(0 <= tick <= part.end for tick, _ in part.events)


@pytest.mark.parametrize("seed", range(8))
def test_other_instruments_play_the_same_music_in_another_key(seed):
    whole = score()
    other = orchestrate.reorchestrated(whole, random.Random(seed))
    steps = {
        (after[0] - before[0], after[1] - before[1])
        for before, after in zip(notes(whole, 0), notes(other, 0), strict=True)
    }
    assert len(steps) == 1
    assert next(iter(steps))[1] in orchestrate.TRANSPOSED
    assert notes(other, DRUMS) == notes(whole, DRUMS)
    programs = {e[0] & 15: e[1] for _, e in other.events if e[0] >> 4 == 0xC}
    assert programs.pop(DRUMS) in orchestrate.KITS
    assert all(SPLIT_OF_PROGRAM[program % 8] == "train" for program in programs.values())
    assert (0, bytes([0xB0, 7, 90])) in other.events


def test_only_training_scores_are_rendered(tmp_path, monkeypatch):
    class Noise:
        def __init__(self, folder):
            self.folder = folder

        def render(self, played):
            seconds = played.end / played.division / 2
            return 0.1 * np.random.default_rng(0).standard_normal(round(seconds * 16000))

    monkeypatch.setattr(orchestrate, "Synthesizer", Noise)
    found = {("c", "a"): write_score(score()), ("c", "b"): write_score(score())}
    monkeypatch.setattr(orchestrate, "score_files", lambda folder: found.items())
    columns = [
        "path",
        "domain",
        "split",
        "group",
        "package",
        "licence",
        "collection",
        "work",
        "kind",
    ]
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerow(["c/a/000", "music", "train", "c:a", "p", "l", "c", "a", "rendered"])
        writer.writerow(["c/b/000", "music", "test", "c:b", "p", "l", "c", "b", "rendered"])
    orchestrate.main(tmp_path)
    with (tmp_path / "orchestrated.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    scores = [row for row in rows if row["collection"] == "c"]
    assert {(row["group"], row["domain"]) for row in scores} == {("c:a", "music")}
    # A score of one group and drums: all, and each alone.
    assert len(scores) == orchestrate.VERSIONS * 3 * orchestrate.EXCERPTS
    assert {row["collection"] for row in rows} == {"c", "notes", "strokes"}
    assert {row["split"] for row in rows} == {"train"}
    assert len({row["path"] for row in rows}) == len(rows)
    assert audio_info(tmp_path / scores[0]["path"]).duration == orchestrate.SECONDS
