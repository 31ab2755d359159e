"""Small corpora on disk, for tests of everything that reads one."""

from pathlib import Path

import numpy as np
import soundfile

from audiossl.data.folder import folder_items
from audiossl.data.preparing import Durations, finish_corpus, join_cuts, write_shard

RATE = 16_000


def tone(seconds: float, hertz: float, rate: int = RATE, level: float = 0.3) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(
        np.float32
    )


def write_folder(folder: Path, durations: list[float], *, stems: bool = False) -> None:
    """Write recordings 000, 001, ... that are told apart by their frequency.

    With stems, each is a folder of `low`, which always sounds, and `high`, which is silent in every
    third recording.
    """
    for index, seconds in enumerate(durations):
        low, high = tone(seconds, 200 + 50 * index), tone(seconds, 2000 + 100 * index, level=0.2)
        if not stems:
            folder.mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / f"{index:03d}.wav", low, RATE)
            continue
        (folder / f"{index:03d}").mkdir(parents=True)
        soundfile.write(folder / f"{index:03d}" / "low.wav", low, RATE)
        soundfile.write(folder / f"{index:03d}" / "high.wav", high * (index % 3 != 2), RATE)


def prepare(source: Path, output: Path, *, encoding: str = "wav", shard_size: int = 4, **kwargs):
    """Make a corpus as the stage does, without the stage."""
    items = folder_items(source, **kwargs)
    shards = [items[i : i + shard_size] for i in range(0, len(items), shard_size)]
    reports = [
        write_shard(shard, output, index, encoding, Durations(0.025, 100.0))
        for index, shard in enumerate(shards)
    ]
    facts = {"encoding": encoding, "cuts": join_cuts(output, len(shards))}
    finish_corpus(output, len(shards), ["recording"], facts)
    return reports
