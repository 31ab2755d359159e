"""Folders with the layout that benchmarks publish, made of tones."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import soundfile

from tests.data.corpora import RATE, tone

KINDS = {"bell": 2000, "dog": 500, "rain": 90}
"""Classes of the sounds, and what they sound like, in Hz."""


def sound(kind: str, number: int, seconds: float = 0.6) -> np.ndarray:
    """A sound of a class, a little different from the others."""
    noise = np.random.default_rng(number).normal(size=int(seconds * RATE)).astype(np.float32)
    return tone(seconds, KINDS[kind] * (1 + 0.01 * number)) + 0.05 * noise


def write_hear_task(
    folder: Path, *, splits: tuple[str, ...], each: int = 4, **facts: object
) -> None:
    """Write a task folder of HEAR: `each` sounds of every class in each split."""
    folder.mkdir(parents=True)
    known: dict[str, object] = {
        "task_name": "toy", "version": "v1.0.0", "embedding_type": "scene",
        "prediction_type": "multiclass", "split_mode": "trainvaltest", "sample_duration": 0.6,
        "evaluation": ["top1_acc", "mAP", "d_prime", "aucroc"], "evaluation_params": {},
        "mode": "full",
    } | facts  # fmt: skip
    (folder / "task_metadata.json").write_text(json.dumps(known))
    vocabulary = "".join(f"{index},{kind}\n" for index, kind in enumerate(KINDS))
    (folder / "labelvocabulary.csv").write_text("idx,label\n" + vocabulary)
    for place, split in enumerate(splits):
        audio = folder / str(RATE) / split
        audio.mkdir(parents=True)
        labels = {}
        for number in range(each):
            for kind in KINDS:
                name = f"{kind}-{place}-{number}.wav"
                soundfile.write(audio / name, sound(kind, 10 * place + number), RATE)
                labels[name] = [kind]
        (folder / f"{split}.json").write_text(json.dumps(labels))


def write_tars(folder: Path, names: dict[str, int], *, each: int = 4) -> None:
    """Write tars of flac and JSON as X-ARES has them: name of each and how many of it there are."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, (stem, shards) in enumerate(names.items()):
        for shard in range(shards):
            with tarfile.open(folder / f"{stem}-0{shard:05d}.tar", "w") as tar:
                for number in range(each):
                    for index, kind in enumerate(KINDS):
                        key = f"{kind}_{place}_{shard}_{number}"
                        file = io.BytesIO()
                        made = sound(kind, 100 * place + 10 * shard + number)
                        soundfile.write(file, made, RATE, format="FLAC")
                        _add(tar, f"{key}.flac", file.getvalue())
                        facts = {"label": index, "name": kind, "tags": [kind, "any"]}
                        _add(tar, f"{key}.json", json.dumps(facts).encode())


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
