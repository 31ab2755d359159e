"""Real speech over real music at 0 dB, from the corpus that comes with the project."""

import csv
from pathlib import Path

import numpy as np

from audiossl.audio.files import read_waveform

CORPUS = Path(__file__).parents[2] / "egs/mini/data"


def rows(table):
    with (CORPUS / f"{table}.csv").open(encoding="utf-8") as file:
        return sorted(csv.DictReader(file), key=lambda row: row.get("path") or row["piece"])


def evenly(items, num):
    return [items[round(i * (len(items) - 1) / max(1, num - 1))] for i in range(num)]


def music(piece):
    """The sum of the stems of a piece, which is its mixture."""
    stems = [read_waveform(CORPUS / piece["piece"] / f"{s}.ogg") for s in piece["stems"].split("|")]
    return np.sum([stem[: min(map(len, stems))] for stem in stems], axis=0)


def speech_over_music(num_pairs):
    """Pairs of (mixture, speech), 4 to 7 s each, of equal energy of speech and music."""
    spoken = [row for row in rows("speech") if 4 < float(row["duration"]) < 7]
    for utterance, piece in zip(
        evenly(spoken, num_pairs), evenly(rows("music"), num_pairs), strict=True
    ):
        speech, background = read_waveform(CORPUS / utterance["path"]), music(piece)
        num_samples = min(len(speech), len(background))
        speech, background = speech[:num_samples], background[:num_samples]
        gain = np.sqrt(np.square(speech).sum() / np.square(background).sum())
        yield (speech + gain * background).astype(np.float32), speech
