"""What a probe says of every test item, kept on disk, so that systems can be compared months later.

One file a task, encoder and probe: numpy's `.npz` without pickle.
"""

import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Shaped

from audiossl.errors import UserError
from audiossl.probing.scores import METRICS, MetricName, plain
from audiossl.probing.tasks import Task
from audiossl.whole import whole_file

FORMAT = 1


@dataclass(frozen=True)
class TaskFacts:
    """What must agree before two predictions may be compared."""

    name: str
    kind: str
    metric: MetricName
    stratify: bool


@dataclass(frozen=True)
class Predictions:
    """Scores of a task's test items."""

    task: TaskFacts
    encoder: str
    """As the table calls it."""
    probe: str
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    groups: Shaped[np.ndarray, " items"]
    targets: Bool[np.ndarray, "items classes"]
    runs: Float[np.ndarray, "runs items classes"]
    """Of each run of the probe (seed)."""

    @property
    def strata(self) -> Shaped[np.ndarray, " items"] | None:
        """Class of each item, if the task draws groups within classes."""
        return self.targets.argmax(axis=1) if self.task.stratify else None

    def score(self, metric: MetricName | str) -> float:
        """Score the items, averaged over runs."""
        return float(np.mean([plain(METRICS[metric], self.targets, run) for run in self.runs]))

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
    )


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write predictions, whole or not at all."""
    facts = {
        "format": FORMAT,
        "task": asdict(predictions.task),
        "encoder": predictions.encoder,
        "probe": predictions.probe,
        "classes": predictions.classes,
    }
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            facts=np.array(json.dumps(facts)),
            ids=np.array(predictions.ids),
            groups=predictions.groups,
            targets=predictions.targets,
            runs=predictions.runs,
        )


def read_predictions(path: Path) -> Predictions:
    """Read predictions.

    Raises:
        UserError: The file is damaged or of a newer format.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            facts = json.loads(str(file["facts"]))
            ids, groups, targets, runs = (
                file[name] for name in ("ids", "groups", "targets", "runs")
            )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: cannot be read as predictions ({error})") from error
    if facts["format"] > FORMAT:
        raise UserError(f"{path}: written by a newer version (format {facts['format']})")
    return Predictions(
        task=TaskFacts(**facts["task"]),
        encoder=facts["encoder"],
        probe=facts["probe"],
        classes=tuple(facts["classes"]),
        ids=tuple(ids.tolist()),
        groups=groups,
        targets=targets,
        runs=runs,
    )
