"""Score the encoders of a probe stage by cross-validation over training and validation items.

    python egs/mini/local/cross_validate.py cuts embeddings scores.json --config tasks.yaml

Groups are dealt into folds by chance. Each fold is scored by probes that are fitted on the others
but one, on which their settings and the layer are chosen; a score is that of all items together.
Items of the test split are never read. Predictions are kept in the folder scores, beside it,
so that `audiossl compare` gives differences their intervals.
"""

import argparse
import functools
import sys
from collections.abc import Sequence
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
from audiossl.probing.predictions import Predictions, seedless, write_predictions
from audiossl.probing.tasks import Task, TaskConfig, build_task
from recipes.probe.embed import shard_file
from recipes.probe.tables import predictions_file

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


def joined(folds: Sequence[Predictions]) -> Predictions:
    """Put the items of all folds together."""
    return replace(
        folds[0],
        ids=tuple(name for fold in folds for name in fold.ids),
        groups=np.concatenate([fold.groups for fold in folds]),
        targets=np.concatenate([fold.targets for fold in folds]),
        runs=np.concatenate([fold.runs for fold in folds], axis=1),
    )


def summary(scores: dict[str, float]) -> dict[str, Any]:
    """Join the seeds of each system ("plain#0", "plain#1"): their mean, and their spread."""
    systems: dict[str, list[float]] = {}
    for encoder, value in scores.items():
        systems.setdefault(seedless(encoder), []).append(value)
    return {
        name: {"mean": float(np.mean(values)), "seeds": values, "std": float(np.std(values))}
        for name, values in systems.items()
    }


def settings_of(
    paths: Sequence[Path],
) -> tuple[tuple[TaskConfig, ...], tuple[ProbeConfig, ...]]:
    """Read tasks and probes from files, of which a later one replaces those of an earlier one."""
    content: dict[str, Any] = {}
    for path in paths:
        content |= yaml.safe_load(path.read_text(encoding="utf-8"))
    source = ", ".join(map(str, paths))
    tasks = from_plain(tuple[TaskConfig, ...], content["tasks"], source)
    return tasks, from_plain(tuple[ProbeConfig, ...], content["probes"], source)


def all_predictions(
    jobs: Sequence[tuple[Task, ProbeConfig, str, int]], folder: Path, processes: int
) -> list[Predictions]:
    """Do jobs in their order, in this process if it is to be one."""
    work = functools.partial(predicted, folder=folder)
    if processes == 1:
        return list(map(work, jobs))
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        return list(pool.map(work, jobs))


def main(arguments: argparse.Namespace) -> None:
    """Score encoders on every task by every probe."""
    settings, probes = settings_of(arguments.config)
    labels = list(Corpus(arguments.cuts).labels())
    tasks = [learnable(build_task(setting, labels)) for setting in settings]
    known = read_json(arguments.embeddings / "embeddings.json")["encoders"]
    asked = arguments.encoders or [seedless(name) for name in known]
    encoders = [name for name in known if seedless(name) in asked]
    jobs = list(product(tasks, probes, encoders, range(FOLDS)))
    # The longest first, so that all processes end at about the same time.
    jobs.sort(key=lambda job: (job[1].kind == "neighbors", -len(job[0].cuts)))
    results = all_predictions(jobs, arguments.embeddings, arguments.processes)
    folds: dict[tuple[str, str], list[Predictions]] = {}
    for (task, probe, name, _), result in zip(jobs, results, strict=True):
        folds.setdefault((f"{task.config.name}, {probe.kind}", name), []).append(result)
    scores: dict[str, dict[str, float]] = {}
    for (row, name), parts in folds.items():
        whole = joined(parts)
        write_predictions(predictions_file(arguments.scores.with_suffix(""), whole), whole)
        scores.setdefault(row, {})[name] = whole.score(whole.task.metric)
    table = {row: summary(by_encoder) for row, by_encoder in scores.items()}
    write_json(arguments.scores, {"folds": FOLDS, "scores": table})
    for row, systems in table.items():
        figures = ", ".join(f"{n} {s['mean']:.3f} ± {s['std']:.3f}" for n, s in systems.items())
        sys.stdout.write(f"{row}: {figures}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cuts", type=Path)
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("scores", type=Path)
    parser.add_argument("--config", type=Path, action="append", required=True)
    parser.add_argument("--encoders", nargs="+", default=(), help="without seeds; all by default")
    parser.add_argument("--processes", type=int, default=1)
    main(parser.parse_args())
