"""The rows of a task: every encoder, the mean over seeds, what needs no encoder; and over tasks."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

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
from audiossl.probing.results import (
    NO_PROBE,
    SEED,
    Difference,
    Row,
    Score,
    StandingRow,
    TaskResults,
)
from audiossl.probing.standings import standings
from audiossl.probing.tasks import Task


def task_table(
    output: Path, task: Task, rows: Sequence[Row], bootstrap: BootstrapConfig
) -> TaskResults:
    """Describe a task with all of its rows, and write predictions of the most frequent class.

    Args:
        output: Of the stage.
        task: The task.
        rows: Of every encoder and probe, by `fit`.
        bootstrap: How intervals are made.
    """
    frequent = majority(task)
    write_predictions(predictions_file(output, frequent), frequent)
    chance = {name: Score(score) for name, score in chance_scores(task).items()}
    rest = (
        Row("majority", NO_PROBE, "majority", intervals(frequent, metrics_of(task), bootstrap)),
        Row("chance", NO_PROBE, "chance", chance),
    )
    return replace(described(task), rows=(*_with_means(output, task, rows, bootstrap), *rest))


def task_differences(
    output: Path,
    task: Task,
    roles: Mapping[str, str],
    probes: Sequence[str],
    bootstrap: BootstrapConfig,
) -> tuple[Difference, ...]:
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
                    facts = asdict(compared) | {"difference": Score.of(compared.difference)}
                    rows.append(Difference(probe, name, reference, **facts))
    return tuple(rows)


def task_standings(
    output: Path,
    tasks: Sequence[Task],
    roles: Mapping[str, str],
    probes: Sequence[str],
    bootstrap: BootstrapConfig,
) -> dict[str, tuple[StandingRow, ...]]:
    """Rank three encoders or more, baselines included, over two tasks or more, by each probe."""
    systems = _systems(roles)
    if len(systems) < 3 or len(tasks) < 2:
        return {}
    families = [task.config.family or task.config.name for task in tasks]
    tables = {}
    for probe in probes:
        draws = np.stack([_draws(output, task, systems, probe, bootstrap) for task in tasks], 1)
        tables[probe] = tuple(
            StandingRow(
                row.encoder, roles[systems[row.encoder][0]], Score.of(row.overall),
                dict(row.families), row.mean_rank,
            )
            for row in standings(draws, list(systems), families, bootstrap)
        )  # fmt: skip
    return tables


def predictions_file(output: Path, predictions: Predictions) -> Path:
    """Name the predictions of a task, probe and encoder."""
    return _file(output, predictions.task.name, predictions.encoder, predictions.probe)


def _with_means(
    output: Path, task: Task, rows: Sequence[Row], bootstrap: BootstrapConfig
) -> Iterator[Row]:
    """Put the mean of several seeds before them; they become rows that stand behind it."""
    systems: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        systems[seedless(row.encoder), row.probe].append(row)
    for (name, probe), seeds in systems.items():
        if len(seeds) == 1:
            yield replace(seeds[0], encoder=name)
            continue
        files = [_file(output, task.config.name, row.encoder, probe) for row in seeds]
        (merged,) = merge_seeds(map(read_predictions, files))
        scores = {
            metric: replace(score, deviation=_deviation(seeds, metric))
            for metric, score in intervals(merged, metrics_of(task), bootstrap).items()
        }
        yield Row(name, probe, seeds[0].role, scores, len(seeds))
        yield from (replace(row, role=SEED) for row in seeds)


def _deviation(seeds: Sequence[Row], metric: str) -> float:
    return float(np.std([row.scores[metric].value for row in seeds], ddof=1))


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
