"""Stage: fit probes on embeddings, choose on validation items, score test items once."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from audiossl import distributed
from audiossl.atomic_files import read_json, read_object, reading, write_json
from audiossl.configs import Count, Whole, from_plain, plain
from audiossl.data.corpus import Corpus
from audiossl.data.tables import read_labels
from audiossl.errors import UserError, did_you_mean
from audiossl.preemption import safe_point
from audiossl.probing.bootstrap import BootstrapConfig
from audiossl.probing.embeddings import Embeddings, read_embeddings
from audiossl.probing.linear import LinearConfig
from audiossl.probing.measure import (
    Aggregate,
    Measured,
    ProbeConfig,
    described,
    intervals,
    measure,
    metrics_of,
    name_of,
)
from audiossl.probing.metrics import metric_of
from audiossl.probing.neighbors import NeighborsConfig
from audiossl.probing.predictions import Predictions, write_predictions
from audiossl.probing.projection import MapKind, project
from audiossl.probing.results import EncoderFacts, Results, Row, only_finite, results_content
from audiossl.probing.tasks import Task, TaskConfig, build_task
from recipes.engines.local import run_local
from recipes.probe.embed import shard_file
from recipes.probe.tables import predictions_file, task_differences, task_standings, task_table
from recipes.stage import Resources, Stage, main

MAP_LABELS = ".labels.json"
"""Beside the maps of encoders, whose names do not begin with a dot."""


@dataclass(frozen=True, kw_only=True)
class MapConfig:
    """The two-dimensional map of a report."""

    projection: MapKind = "tsne"
    """Projection of the embeddings to two dimensions."""
    labels: tuple[str, ...] = ()
    """Labels by which points can be colored; by default those of tasks with one class an item."""
    most_points: Count = 1500
    """Maximum number of cuts on the map; a larger number is drawn from at random."""
    seed: Whole = 0
    """Random seed of that draw, and of t-SNE."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Fit and score probes on the embeddings of several encoders."""

    cuts: Path
    """Output of a `prepare` stage."""
    embeddings: Path
    """Output of `recipes.probe.embed` for the same cuts."""
    output: Path
    """Folder of scores and predictions."""
    labels: tuple[Path, ...] = ()
    """Tables (.csv, .tsv) of further labels, or of others in place of those that `prepare` read: in
    their column `path`, the path or the id of a cut."""
    tasks: tuple[TaskConfig, ...]
    """Tasks to predict."""
    probes: tuple[ProbeConfig, ...] = (LinearConfig(), NeighborsConfig())
    """Probes to fit; a report shows the first one first."""
    aggregate: Aggregate = "embeddings"
    """Aggregation of the windows of a cut: of their embeddings, or of their scores."""
    bootstrap: BootstrapConfig = BootstrapConfig()
    """Bootstrap of the intervals."""
    map: MapConfig = MapConfig()
    """Map of the embeddings."""
    resources: Resources = field(default_factory=Resources)
    """Device and worker processes."""


def fit(config: Config, stage: Stage) -> dict[str, Any]:
    """Fit every probe of every task on every encoder, and write scores, predictions and a map."""
    encoders = _check_inputs(config)
    tasks = _tasks(config)
    for task in tasks:
        stage.log.info(
            "task %s: %d classes, items %s%s", task.config.name, len(task.classes),
            described(task).items, f", left out {', '.join(task.left_out)}" * bool(task.left_out),
        )  # fmt: skip
    names = list(encoders)
    mine = names[distributed.rank() :: distributed.world_size()]
    todo = [name for name in mine if not _rows_file(config, name).exists()]
    for name in run_local(
        todo, partial(_worker, config, str(stage.device)), config.resources.workers
    ):
        stage.log.info("%s: %s", name, _summary(config, name, encoders[name].role))
    distributed.barrier()
    if not distributed.is_first():
        return {}
    roles = {name: facts.role for name, facts in encoders.items()}
    rows = [row for name in names for row in _rows(config, name, roles[name])]
    probes = [name_of(probe) for probe in config.probes]
    tables = [
        replace(
            task_table(
                config.output, task, [row for name, row in rows if name == task.config.name],
                config.bootstrap,
            ),
            differences=task_differences(config.output, task, roles, probes, config.bootstrap),
        )
        for task in tasks
    ]  # fmt: skip
    results = Results(
        bootstrap=config.bootstrap,
        encoders=encoders,
        tasks=tuple(tables),
        standings=task_standings(config.output, tasks, roles, probes, config.bootstrap),
    )
    write_json(config.output / "scores.json", results_content(results))
    write_json(config.output / "map" / MAP_LABELS, _map_labels(config, tasks))
    return {"tasks": len(tasks), "rows": len(rows)}


def _check_inputs(config: Config) -> dict[str, EncoderFacts]:
    """Read which encoders embedded, and refuse embeddings of other cuts."""
    path = config.embeddings / "embeddings.json"
    if not path.exists():
        raise UserError(f"{config.embeddings}: no embeddings.json: run recipes.probe.embed first")
    known = read_object(path, cuts=str, shards=list, encoders=dict)
    encoders: dict[str, EncoderFacts] = from_plain(
        dict[str, EncoderFacts], known["encoders"], f"{path}: encoders"
    )
    if known["cuts"] != read_object(config.cuts / "corpus.json", cuts=str)["cuts"]:
        raise UserError(f"{config.embeddings} was made from other cuts than {config.cuts}")
    for name in ("tasks", "probes"):
        if not getattr(config, name):
            raise UserError(f"{name}: there are none; name at least one")
    names = [task.name for task in config.tasks]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"tasks: the name {twice[0]!r} is there twice")
    kinds = [name_of(probe) for probe in config.probes]
    if twice := sorted({kind for kind in kinds if kinds.count(kind) > 1}):
        raise UserError(f"probes: {twice[0]!r} is there twice; results are kept by its name")
    _check_map(config)
    return encoders


def _check_map(config: Config) -> None:
    known = {name for labels in _labels(config) for name in labels}
    for name in config.map.labels:
        if name not in known:
            hint = did_you_mean(name, known)
            raise UserError(f"map.labels: no cut has a label {name!r}{hint}")


def _tasks(config: Config) -> list[Task]:
    corpus = Corpus(config.cuts)
    embedded = read_json(config.embeddings / "embeddings.json").get("where", {})
    chosen = set(corpus.select(embedded).tolist())
    # A cut that was not embedded is an item of no task: nothing but its name is known.
    labels = [
        labels if cut in chosen else {"id": labels["id"]}
        for cut, labels in enumerate(_labels(config))
    ]
    return [build_task(task, labels) for task in config.tasks]


def _labels(config: Config) -> list[dict[str, str]]:
    """List what is known of each cut, that of the tables included.

    Raises:
        UserError: A row of a table is of no cut.
    """
    known = [dict(labels) for labels in Corpus(config.cuts).labels()]
    by_name = {
        labels[name]: labels for labels in known for name in ("id", "path") if name in labels
    }
    for table in config.labels:
        for path, labels in read_labels(table).items():
            if path not in by_name:
                raise UserError(
                    f"{table}: {path!r} is neither the path nor the id of a cut of {config.cuts}"
                    f"{did_you_mean(path, by_name)}"
                )
            by_name[path].update({name: text for name, text in labels.items() if name != "id"})
    return known


def _worker(config: Config, device: str) -> Callable[[str], str]:
    """Build what does the work of one encoder; all of its rows are written at its end."""
    tasks = _tasks(config)
    embedded = read_json(config.embeddings / "embeddings.json")
    points = _points(config, tasks)

    def work(name: str) -> str:
        files = [config.embeddings / shard_file(name, shard) for shard in embedded["shards"]]
        role = embedded["encoders"][name]["role"]
        embeddings = read_embeddings(files)
        rows = []
        for task in tasks:
            for probe in config.probes:
                safe_point()
                measured = measure(
                    task, embeddings, probe, encoder=name, aggregate=config.aggregate, device=device
                )
                rows.append(_row(config, task, measured, role))
        write_json(_map_file(config, name), _map(config, embeddings, points))
        write_json(_rows_file(config, name), rows)
        return name

    return work


def _row(config: Config, task: Task, measured: Measured, role: str) -> dict[str, Any]:
    """Keep the predictions of a probe and score them."""
    predictions = measured.predictions
    write_predictions(predictions_file(config.output, predictions), predictions)
    row = Row(
        predictions.encoder,
        predictions.probe,
        role,
        intervals(predictions, metrics_of(task), config.bootstrap),
        choice=measured.choice,
        validation={**measured.validation},
        runs=len(predictions.runs),
        folds=_folds(predictions),
    )
    return {"task": task.config.name, **only_finite(plain(row))}


def _rows(config: Config, encoder: str, role: str) -> list[tuple[str, Row]]:
    """Read the rows of an encoder, each with the name of its task.

    Rows of earlier versions have no role, and NaN.

    Raises:
        UserError: The file is damaged.
    """
    path = _rows_file(config, encoder)
    known, source = read_json(path), f"{path}: damaged? remove it and start again"
    with reading(path, "rows of recipes.probe.fit"):
        entries = [{"role": role} | only_finite(entry) for entry in known]
        return [(entry.pop("task"), from_plain(Row, entry, source)) for entry in entries]


def _folds(predictions: Predictions) -> tuple[float, ...]:
    """Give the score of each fold by the task's own metric, where there are folds."""
    if predictions.folds is None:
        return ()
    once = np.ones((1, len(predictions.targets)))
    values = predictions.values_of_folds(metric_of(predictions.task.metric), once)
    return tuple(values.mean(axis=(1, 2)).tolist())


def _points(config: Config, tasks: list[Task]) -> np.ndarray:
    """Choose the cuts on the map: items of any task."""
    cuts = np.unique(np.concatenate([task.cuts for task in tasks]))
    if len(cuts) <= config.map.most_points:
        return cuts
    generator = np.random.default_rng(config.map.seed)
    return np.sort(generator.choice(cuts, config.map.most_points, replace=False))


def _map(config: Config, embeddings: Embeddings, points: np.ndarray) -> dict[str, Any]:
    name = next(iter(embeddings.vectors))
    vectors = embeddings.of_cuts(name)[points]
    places = project(vectors, config.map.projection, config.map.seed)
    return {"embedding": name, "places": np.round(places, 4).tolist()}


def _map_labels(config: Config, tasks: list[Task]) -> dict[str, Any]:
    """Say what is known of each point of the map."""
    labels = _labels(config)
    points = _points(config, tasks).tolist()
    single = [task.config.label for task in tasks if task.config.kind == "single"]
    names = config.map.labels or tuple(dict.fromkeys(single))
    return {
        "projection": config.map.projection,
        "ids": [labels[cut]["id"] for cut in points],
        "labels": {name: [labels[cut].get(name, "") for cut in points] for name in names},
    }


def _rows_file(config: Config, encoder: str) -> Path:
    return config.output / "rows" / f"{encoder}.json"


def _map_file(config: Config, encoder: str) -> Path:
    return config.output / "map" / f"{encoder}.json"


def _summary(config: Config, encoder: str, role: str) -> str:
    metrics = {task.name: task.metric for task in config.tasks}
    return " ".join(
        f"{task}={row.scores[metrics[task]].value:.3f}"
        for task, row in _rows(config, encoder, role)
        if row.probe == name_of(config.probes[0])
    )


if __name__ == "__main__":
    main(Config, fit, "recipes.probe.fit")
