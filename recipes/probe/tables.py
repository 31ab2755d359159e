"""The rows of a task: every encoder, the mean over seeds, what needs no encoder; and over tasks."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from audiossl.probing.bootstrap import BootstrapConfig, replicates
from audiossl.probing.comparison import compare
from audiossl.probing.measure import chance_scores, described, intervals, majority, metrics_of
from audiossl.probing.metrics import metric_of
from audiossl.probing.predictions import (
    Predictions,
    merge_seeds,
    read_predictions,
    seedless,
    write_predictions,
)
from audiossl.probing.standings import standings
from audiossl.probing.tasks import Task

Row = dict[str, Any]


def task_table(
    output: Path,
    task: Task,
    rows: Sequence[Row],
    roles: Mapping[str, str],
    bootstrap: BootstrapConfig,
) -> dict[str, Any]:
    """Describe a task with all of its rows, and write predictions of the most frequent class.

    Args:
        output: Of the stage.
        task: The task.
        rows: Of every encoder and probe, by `fit`.
        roles: What each encoder is in tables.
        bootstrap: How intervals are made.
    """
    frequent = majority(task)
    write_predictions(predictions_file(output, frequent), frequent)
    metrics = metrics_of(task)
    own = [
        {key: value for key, value in row.items() if key != "task"}
        | {"role": roles[row["encoder"]]}
        for row in rows
        if row["task"] == task.config.name
    ]
    always = {
        "majority": intervals(frequent, metrics, bootstrap),
        "chance": {name: {"score": score} for name, score in chance_scores(task).items()},
    }
    rest = [
        {"encoder": name, "probe": "none", "role": name, "scores": scores}
        for name, scores in always.items()
    ]
    return {**described(task), "rows": [*_with_means(output, task, own, bootstrap), *rest]}


def task_differences(
    output: Path,
    task: Task,
    roles: Mapping[str, str],
    probes: Sequence[str],
    bootstrap: BootstrapConfig,
) -> list[Row]:
    """Compare every encoder that was asked for with the first of them and with the baselines.

    Args:
        output: Of the stage.
        task: The task.
        roles: What each encoder is in tables.
        probes: Which were fitted.
        bootstrap: How intervals are made.
    """
    systems = _systems(roles)
    asked = [name for name, seeds in systems.items() if roles[seeds[0]] == "encoder"]
    rows = []
    for probe in probes:
        predictions = _merged(output, task, systems, probe)
        for name in asked:
            references = asked[:1] + [other for other in systems if other not in asked]
            for reference in references:
                if reference != name:
                    compared = compare(predictions[name], predictions[reference], bootstrap)
                    facts = {"probe": probe, "encoder": name, "reference": reference}
                    rows.append(facts | asdict(compared))
    return rows


def task_standings(
    output: Path,
    tasks: Sequence[Task],
    roles: Mapping[str, str],
    probes: Sequence[str],
    bootstrap: BootstrapConfig,
) -> dict[str, list[Row]]:
    """Rank three encoders or more, baselines included, over two tasks or more, by each probe."""
    systems = _systems(roles)
    if len(systems) < 3 or len(tasks) < 2:
        return {}
    families = [task.config.family or task.config.name for task in tasks]
    return {
        probe: [
            asdict(row) | {"role": roles[systems[row.encoder][0]]}
            for row in standings(
                np.stack([_draws(output, task, systems, probe, bootstrap) for task in tasks], 1),
                list(systems), families, bootstrap,
            )
        ]
        for probe in probes
    }  # fmt: skip


def predictions_file(output: Path, predictions: Predictions) -> Path:
    """Name the predictions of a task, probe and encoder."""
    return _file(output, predictions.task.name, predictions.encoder, predictions.probe)


def _with_means(
    output: Path, task: Task, rows: Sequence[Row], bootstrap: BootstrapConfig
) -> Iterator[Row]:
    """Put the mean of several seeds before them; they become rows that stand behind it."""
    systems: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        systems[seedless(row["encoder"]), row["probe"]].append(row)
    for (name, probe), seeds in systems.items():
        if len(seeds) == 1:
            yield {**seeds[0], "encoder": name}
            continue
        files = [_file(output, task.config.name, row["encoder"], probe) for row in seeds]
        (merged,) = merge_seeds(map(read_predictions, files))
        scores = intervals(merged, metrics_of(task), bootstrap)
        for metric, figure in scores.items():
            each = [row["scores"][metric]["score"] for row in seeds]
            figure["deviation"] = float(np.std(each, ddof=1))
        yield {
            "encoder": name,
            "probe": probe,
            "role": seeds[0]["role"],
            "scores": scores,
            "seeds": len(seeds),
        }
        yield from ({**row, "role": "seed"} for row in seeds)


def _draws(
    output: Path,
    task: Task,
    systems: Mapping[str, Sequence[str]],
    probe: str,
    bootstrap: BootstrapConfig,
) -> Float[np.ndarray, "systems draws"]:
    """Score systems on all test items, and on every replicate."""
    metric = metric_of(task.config.metric)
    return np.stack(
        [
            [one.score(task.config.metric), *replicates(metric, one, bootstrap)]
            for one in _merged(output, task, systems, probe).values()
        ]
    )


def _systems(roles: Mapping[str, str]) -> dict[str, list[str]]:
    """List the seeds of each system."""
    systems: dict[str, list[str]] = defaultdict(list)
    for name in roles:
        systems[seedless(name)].append(name)
    return systems


def _merged(
    output: Path, task: Task, systems: Mapping[str, Sequence[str]], probe: str
) -> dict[str, Predictions]:
    """Read the predictions of systems, their seeds as runs."""
    return {
        system: merge_seeds(
            read_predictions(_file(output, task.config.name, name, probe)) for name in names
        )[0]
        for system, names in systems.items()
    }


def _file(output: Path, task: str, encoder: str, probe: str) -> Path:
    return output / "predictions" / task / f"{encoder}.{probe}.npz"
