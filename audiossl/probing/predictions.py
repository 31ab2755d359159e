"""What a probe says of every test item, kept on disk, so that systems can be compared months later.

One file a task, encoder and probe: numpy's `.npz` without pickle.
"""

import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from audiossl.atomic_files import atomic_write, reading
from audiossl.errors import UserError
from audiossl.probing.metrics import Metric, Targets, metric_of
from audiossl.probing.tasks import Task

FORMAT = 1
_ARRAYS = ("groups", "targets", "runs")


@dataclass(frozen=True)
class TaskFacts:
    """What must agree before two predictions may be compared."""

    name: str
    kind: str
    metric: str
    stratify: bool


@dataclass(frozen=True)
class Predictions:
    """Scores of a task's test items."""

    task: TaskFacts
    encoder: str
    """Name of the encoder in the table."""
    probe: str
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    groups: Shaped[np.ndarray, " items"]
    targets: Targets
    runs: Float[np.ndarray, "runs items classes"]
    """Predictions of each run of the probe (seed)."""
    folds: Int[np.ndarray, " items"] | None = None
    """Fold that each item was tested in, where a score is the mean over folds."""

    @property
    def strata(self) -> Shaped[np.ndarray, " items"] | None:
        """Class of each item, if the task draws groups within classes."""
        return self.targets.argmax(axis=1) if self.task.stratify else None

    def score(self, metric: str) -> float:
        """Score the items, averaged over folds and runs."""
        return float(self.values(metric_of(metric), np.ones((1, len(self.targets)))).mean())

    def values(
        self, metric: Metric, weights: Float[np.ndarray, "replicates items"]
    ) -> Float[np.ndarray, "runs replicates"]:
        """Score every run under sets of weights, as the mean over the folds where it is defined."""
        values = self.values_of_folds(metric, weights)
        defined = np.isfinite(values)
        with np.errstate(invalid="ignore"):
            return np.where(defined, values, 0.0).sum(axis=0) / defined.sum(axis=0)

    def values_of_folds(
        self, metric: Metric, weights: Float[np.ndarray, "replicates items"]
    ) -> Float[np.ndarray, "folds runs replicates"]:
        """Score every run on every fold; items without folds are one."""
        function = metric.over(self.classes).function
        folds = np.zeros(len(self.targets), np.int64) if self.folds is None else self.folds
        parts = [folds == fold for fold in np.unique(folds)]
        return np.stack(
            [
                [function(self.targets[part], run[part], weights[:, part]) for run in self.runs]
                for part in parts
            ]
        )

    def is_right(self) -> Bool[np.ndarray, "runs items"]:
        """Say which items have their highest score at their class."""
        rows = np.arange(len(self.targets))
        return np.stack([self.targets[rows, run.argmax(axis=1)] for run in self.runs])


def predictions_of(
    task: Task, encoder: str, probe: str, runs: Float[np.ndarray, "runs items classes"]
) -> Predictions:
    """Put scores of a task's test items together with what they are of."""
    rows = task.rows("test")
    config = task.config
    return Predictions(
        task=TaskFacts(config.name, config.kind, config.metric, config.stratify),
        encoder=encoder,
        probe=probe,
        classes=task.classes,
        ids=tuple(task.ids[row] for row in rows),
        groups=task.groups[rows],
        targets=task.targets[rows],
        runs=runs.astype(np.float32),
        folds=None if task.folds is None else task.folds[rows],
    )


def seedless(encoder: str) -> str:
    """Name the system that an encoder is one seed of: "cola" for "cola#0".

    Example:
        >>> seedless("cola#0")
        'cola'
    """
    return encoder.partition("#")[0]


def merge_seeds(predictions: Iterable[Predictions]) -> list[Predictions]:
    """Put seeds of one system together as runs of it: "cola#0" and "cola#1" become "cola".

    A score of the result is the mean over its seeds.

    Raises:
        UserError: Two seeds were not measured on the same items.
    """
    systems: dict[str, Predictions] = {}
    for one in predictions:
        name = seedless(one.encoder)
        known = systems.get(name)
        if known is None:
            systems[name] = replace(one, encoder=name)
            continue
        check_comparable(known, one)
        systems[name] = replace(known, runs=np.concatenate([known.runs, one.runs]))
    return list(systems.values())


def check_comparable(one: Predictions, other: Predictions) -> None:
    """Refuse what was not measured on the same items.

    Raises:
        UserError: Names what differs.
    """
    if one.task.name != other.task.name or one.task.metric != other.task.metric:
        raise UserError(
            f"task {one.task.name} ({one.task.metric}) cannot be compared with {other.task.name} "
            f"({other.task.metric}): compare scores of the same task"
        )
    if one.classes != other.classes:
        apart = sorted(set(one.classes) ^ set(other.classes))
        raise UserError(
            f"task {one.task.name}: classes differ ({', '.join(apart[:5]) or 'their order'}): were "
            "both fitted on the same labels?"
        )
    if one.ids != other.ids:
        apart = sorted(set(one.ids) ^ set(other.ids))
        raise UserError(
            f"task {one.task.name}: {len(apart)} test items are only in one of the two "
            f"({', '.join(apart[:3]) or 'their order differs'}): fit both on the same corpus"
        )
    if not np.array_equal(one.targets, other.targets):
        raise UserError(f"task {one.task.name}: the labels of its test items differ")
    if not np.array_equal(one.groups, other.groups):
        raise UserError(f"task {one.task.name}: the groups of its test items differ")


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write predictions, whole or not at all."""
    facts = {
        "format": FORMAT,
        "task": asdict(predictions.task),
        "encoder": predictions.encoder,
        "probe": predictions.probe,
        "classes": predictions.classes,
    }
    folds = {} if predictions.folds is None else {"folds": predictions.folds}
    arrays: dict[str, Any] = {name: getattr(predictions, name) for name in _ARRAYS} | folds
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            facts=np.array(json.dumps(facts)),
            ids=np.array(predictions.ids),
            **arrays,
        )


def read_predictions(path: Path) -> Predictions:
    """Read predictions.

    Raises:
        UserError: The file is damaged or of a newer format.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            facts = json.loads(str(file["facts"]))
            arrays = {name: file[name] for name in ("ids", *_ARRAYS)}
            arrays |= {"folds": file["folds"]} if "folds" in file.files else {}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: cannot be read as predictions ({error})") from error
    with reading(path, "predictions of recipes.probe.fit"):
        return _predictions(path, facts, arrays)


def _predictions(
    path: Path, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> Predictions:
    if facts["format"] > FORMAT:
        raise UserError(f"{path}: written by a newer version (format {facts['format']})")
    return Predictions(
        task=TaskFacts(**facts["task"]),
        encoder=facts["encoder"],
        probe=facts["probe"],
        classes=tuple(facts["classes"]),
        ids=tuple(arrays["ids"].tolist()),
        groups=arrays["groups"],
        targets=arrays["targets"],
        runs=arrays["runs"],
        folds=arrays.get("folds"),
    )
