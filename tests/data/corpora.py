"""Small corpora on disk, for tests of everything that reads one."""

from pathlib import Path

import numpy as np
import soundfile
import torch

from audiossl.audio.frame_rates import num_whole_frames
from audiossl.data.code_writing import finish_codes, write_codes
from audiossl.data.codes import CodeFacts
from audiossl.data.corpus import Corpus
from audiossl.data.folder import folder_items
from audiossl.data.preparing import Durations, finish_corpus, join_cuts, write_shard
from audiossl.nn.codes import Codes

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


def encode(
    cuts: Path, output: Path, field: str = "speech", *, rate: float = 50.0, books: int = 3,
    quantizer: str = "0123456789abcdef", without: tuple[str, ...] = (), extra: int = 0,
) -> None:  # fmt: skip
    """Give every cut codes that count its frames, one more a codebook, as `encode` would."""
    corpus = Corpus(cuts)
    for shard in range(corpus.num_shards):
        rows = []
        for cut in corpus.shard_cuts(shard).tolist():
            frames = num_whole_frames(int(corpus.num_samples[cut]) / RATE, rate) + extra
            values = (torch.arange(frames)[:, None] + torch.arange(books)) % 256
            name = corpus.name(cut)
            codes = None if name in without else Codes(values.to(torch.uint8), quantizer, rate)
            rows.append((name, codes))
        write_codes(output, field, shard, rows)
    finish_codes(cuts, output, field, CodeFacts(quantizer, rate, books, 256, "uint8"))
