"""Score the encoders of a probe stage by cross-validation over training and validation items.

    python egs/mini/local/cross_validate.py cuts embeddings tasks.yaml scores.json [processes]

Groups are dealt into folds by chance. Each fold is scored by probes that are fitted on the others
but one, on which their settings and the layer are chosen; a score is that of all items together.
Items of the test split are never read.
"""

import functools
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from audiossl.atomic_files import read_json, write_json
from audiossl.configs import from_plain
from audiossl.data.corpus import Corpus
from audiossl.probing.embeddings import Embeddings, read_embeddings
from audiossl.probing.measure import ProbeConfig, measure
from audiossl.probing.predictions import Predictions, seedless
from audiossl.probing.tasks import Task, TaskConfig, build_task
from recipes.probe.embed import shard_file

FOLDS = 5


def fold_numbers(task: Task, seed: int = 0) -> np.ndarray:
    """Deal groups into folds; -1 for items of the test split."""
    groups, group_of = np.unique(task.groups, return_inverse=True)
    number = np.random.default_rng(seed).permutation(len(groups))[group_of] % FOLDS
    return np.where(np.isin(task.splits, ("train", "valid")), number, -1)


def folded(task: Task, fold: int) -> Task:
    """Make one fold the one that is scored, and the next the one that is chosen on."""
    named = {-1: "unseen", fold: "test", (fold + 1) % FOLDS: "valid"}
    splits = [named.get(int(number), "train") for number in fold_numbers(task)]
    return replace(task, splits=np.array(splits))


def learnable(task: Task) -> Task:
    """Leave out the classes that some fold would have to be scored on without an example."""
    folds = [folded(task, fold) for fold in range(FOLDS)]
    known = np.all([task.targets[fold.rows("train")].any(axis=0) for fold in folds], axis=0)
    targets = task.targets[:, known]
    labeled = targets.any(axis=1) | (task.config.kind == "multi")
    return replace(
        task,
        classes=tuple(name for name, good in zip(task.classes, known, strict=True) if good),
        targets=targets,
        splits=np.where(labeled, task.splits, "unseen"),
    )


@functools.lru_cache
def embeddings_of(folder: Path, encoder: str) -> Embeddings:
    """Read the embeddings of one encoder."""
    shards = read_json(folder / "embeddings.json")["shards"]
    return read_embeddings([folder / shard_file(encoder, shard) for shard in shards])


def predicted(job: tuple[Task, ProbeConfig, str, int], folder: Path) -> Predictions:
    """Predict the items of one fold."""
    task, probe, encoder, fold = job
    embeddings = embeddings_of(folder, encoder)
    return measure(folded(task, fold), embeddings, probe, encoder=encoder).predictions


def score(folds: list[Predictions], metric: str) -> float:
    """Score the items of all folds together."""
    joined = replace(
        folds[0],
        targets=np.concatenate([fold.targets for fold in folds]),
        runs=np.concatenate([fold.runs for fold in folds], axis=1),
    )
    return joined.score(metric)


def summary(scores: dict[str, float]) -> dict[str, Any]:
    """Join the seeds of each system ("plain#0", "plain#1"): their mean, and their spread."""
    systems: dict[str, list[float]] = {}
    for encoder, value in scores.items():
        systems.setdefault(seedless(encoder), []).append(value)
    return {
        name: {"mean": float(np.mean(values)), "seeds": values, "std": float(np.std(values))}
        for name, values in systems.items()
    }


def main(cuts: Path, folder: Path, config: Path, output: Path, processes: int = 1) -> None:
    """Score every encoder on every task by every probe."""
    content = yaml.safe_load(config.read_text(encoding="utf-8"))
    settings = from_plain(tuple[TaskConfig, ...], content["tasks"], str(config))
    probes = from_plain(tuple[ProbeConfig, ...], content["probes"], str(config))
    labels = list(Corpus(cuts).labels())
    tasks = [learnable(build_task(setting, labels)) for setting in settings]
    encoders = list(read_json(folder / "embeddings.json")["encoders"])
    jobs = list(product(tasks, probes, encoders, range(FOLDS)))
    # The longest first, so that all processes end at about the same time.
    jobs.sort(key=lambda job: (job[1].kind == "neighbors", -len(job[0].cuts)))
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        results = list(pool.map(functools.partial(predicted, folder=folder), jobs))
    folds: dict[tuple[str, str], list[Predictions]] = {}
    for (task, probe, name, _), result in zip(jobs, results, strict=True):
        folds.setdefault((f"{task.config.name}, {probe.kind}", name), []).append(result)
    scores: dict[str, dict[str, float]] = {}
    for (row, name), parts in folds.items():
        scores.setdefault(row, {})[name] = score(parts, parts[0].task.metric)
    table = {row: summary(by_encoder) for row, by_encoder in scores.items()}
    write_json(output, {"folds": FOLDS, "scores": table})
    for row, systems in table.items():
        figures = ", ".join(f"{n} {s['mean']:.3f} ± {s['std']:.3f}" for n, s in systems.items())
        sys.stdout.write(f"{row}: {figures}\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:5]), *map(int, sys.argv[5:]))
