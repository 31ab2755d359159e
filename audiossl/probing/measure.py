"""One encoder, one task, one probe: fit on train, choose on valid, score on test, once."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from typing_extensions import assert_never

from audiossl.errors import UserError
from audiossl.probing.bootstrap import BootstrapConfig, interval
from audiossl.probing.embeddings import Embeddings
from audiossl.probing.linear import LinearConfig, fit_linear
from audiossl.probing.metrics import metric_of, plain, reported_metrics
from audiossl.probing.mlp import MlpConfig, fit_mlp
from audiossl.probing.neighbors import NeighborsConfig, fit_neighbors
from audiossl.probing.predictions import Predictions, predictions_of
from audiossl.probing.probe import Examples, Fitted, Problem
from audiossl.probing.tasks import Split, Task

ProbeConfig: TypeAlias = LinearConfig | MlpConfig | NeighborsConfig
Aggregate = Literal["embeddings", "scores"]
"""How the windows of a cut become one: their embeddings are averaged before the probe, or what the
probe says of each of them is (as COLA and musical source association do)."""


@dataclass(frozen=True)
class Measured:
    """What a probe came to."""

    predictions: Predictions
    """Predictions on the test items."""
    choice: dict[str, Any]
    """Settings chosen on the validation items, the embedding (layer, pooling) among them."""
    validation: dict[str, float]
    """Best validation score of each embedding."""


def measure(
    task: Task,
    embeddings: Embeddings,
    probe: ProbeConfig,
    *,
    encoder: str,
    aggregate: Aggregate = "embeddings",
    device: str = "cpu",
) -> Measured:
    """Fit a probe on every embedding of an encoder; the one that validates best is tested.

    Args:
        task: What is predicted.
        embeddings: Of the corpus' cuts.
        probe: What is fitted.
        encoder: How tables call it.
        aggregate: How windows become one.
        device: For probes that are trained by gradient.
    """
    _check_scorable(task)
    if task.places is not None:
        embeddings = segments_of(embeddings, task)
    fits: dict[str, Fitted] = {}
    for name in embeddings.vectors:
        train, valid = (_examples(task, embeddings, name, s, aggregate) for s in _CHOICE)
        problem = Problem(train, valid, task.config.kind, task.config.metric)
        fits[name] = fit_probe(probe, problem, torch.device(device))
    best = max(fits, key=lambda name: fits[name].validation)
    test = _examples(task, embeddings, best, "test", aggregate)
    runs = np.stack(
        [test.by_item(probabilities) for probabilities in fits[best].predict(test.vectors)]
    )
    return Measured(
        predictions_of(task, encoder, probe.kind, runs),
        {"embedding": best, **fits[best].choice},
        {name: fitted.validation for name, fitted in fits.items()},
    )


def segments_of(embeddings: Embeddings, task: Task) -> Embeddings:
    """Find the embeddings of a task's segments.

    Raises:
        UserError: There are none, or of another label.
    """
    assert task.places is not None
    segments = embeddings.segments
    if segments is None or (segments.counts(task.cuts) <= task.places).any():
        raise UserError(
            f"task {task.config.name}: there are no embeddings of the segments in "
            f"{task.config.label!r}: embed with --embedding.segments {task.config.label}"
        )
    return segments


def fit_probe(probe: ProbeConfig, problem: Problem, device: torch.device | None = None) -> Fitted:
    """Fit the probe that a config describes."""
    match probe:
        case LinearConfig():
            return fit_linear(probe, problem)
        case MlpConfig():
            return fit_mlp(probe, problem, device)
        case NeighborsConfig():
            return fit_neighbors(probe, problem)
        case _:
            assert_never(probe)


def majority(task: Task) -> Predictions:
    """Say of every test item what is most frequent in train: the same for all."""
    share = task.targets[task.rows("train")].mean(axis=0)
    runs = np.broadcast_to(share, (1, len(task.rows("test")), len(share)))
    return predictions_of(task, "majority", "none", runs)


def chance_scores(task: Task) -> dict[str, float]:
    """Score guessing at random, by every metric of the task."""
    targets = task.targets[task.rows("test")]
    return {name: metric_of(name).chance(targets) for name in metrics_of(task)}


def intervals(
    predictions: Predictions, names: tuple[str, ...], config: BootstrapConfig
) -> dict[str, dict[str, float]]:
    """Score predictions by several metrics, each with its interval."""
    return {name: asdict(interval(metric_of(name), predictions, config)) for name in names}


def metrics_of(task: Task) -> tuple[str, ...]:
    """Name the metrics that a task is reported by, its own first."""
    return reported_metrics(task.config.kind, task.config.metric)


def described(task: Task) -> Mapping[str, Any]:
    """Describe a task for the record: sizes, classes, what was left out."""
    rows = {split: task.rows(split) for split in ("train", "valid", "test")}
    return {
        "name": task.config.name,
        "label": task.config.label,
        "kind": task.config.kind,
        "metric": task.config.metric,
        "family": task.config.family or task.config.name,
        "note": task.config.note,
        "classes": list(task.classes),
        "left_out": list(task.left_out),
        "items": {split: len(chosen) for split, chosen in rows.items()},
        "groups": {split: len(set(task.groups[chosen])) for split, chosen in rows.items()},
        "positives": {
            split: task.targets[chosen].sum(axis=0).tolist() for split, chosen in rows.items()
        },
    }


def _check_scorable(task: Task) -> None:
    """Refuse splits on which the metric is not defined, such as ROC-AUC of a single class."""
    metric = task.config.metric
    for split in ("valid", "test"):
        targets = task.targets[task.rows(split)]
        if np.isnan(plain(metric_of(metric), targets, np.zeros(targets.shape, np.float32))):
            present = [
                name for name, any_ in zip(task.classes, targets.any(0), strict=True) if any_
            ]
            raise UserError(
                f"task {task.config.name}: {metric} is not defined on {split}, whose items have "
                f"only {', '.join(present) or 'no class'}: mend the splits, or choose accuracy"
            )


_CHOICE: tuple[Split, Split] = ("train", "valid")


def _examples(
    task: Task, embeddings: Embeddings, name: str, split: Split, aggregate: Aggregate
) -> Examples:
    rows = task.rows(split)
    if task.places is not None:
        examples = embeddings.of_segments(
            name, task.cuts[rows], task.places[rows], task.targets[rows]
        )
    else:
        examples = embeddings.examples(name, task.cuts[rows], task.targets[rows])
    examples = replace(examples, groups=task.groups[rows])
    return examples.averaged() if aggregate == "embeddings" else examples
