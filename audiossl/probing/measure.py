"""One encoder, one task, one probe: fit on train, choose on valid, score on test, once."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from typing_extensions import assert_never

from audiossl.errors import UserError
from audiossl.probing.attentive import AttentiveConfig, fit_attentive, frames_of_items
from audiossl.probing.bootstrap import BootstrapConfig, interval
from audiossl.probing.embeddings import Embeddings
from audiossl.probing.event_problems import clips_of, counted, event_problem
from audiossl.probing.linear import LinearConfig, fit_linear
from audiossl.probing.metrics import metric_of, plain, reported_metrics
from audiossl.probing.mlp import MlpConfig, fit_mlp
from audiossl.probing.neighbors import NeighborsConfig, fit_neighbors
from audiossl.probing.predictions import Predictions, predictions_of
from audiossl.probing.probe import Examples, Fitted, Problem
from audiossl.probing.protocols.evar import EvarConfig, fit_evar
from audiossl.probing.protocols.few_shot import FewShotConfig, fit_few_shot
from audiossl.probing.protocols.hear import HearConfig, fit_hear
from audiossl.probing.protocols.marble import MarbleConfig, fit_marble
from audiossl.probing.protocols.xares import (
    XaresLinearConfig,
    XaresNeighborsConfig,
    fit_xares_linear,
    fit_xares_neighbors,
)
from audiossl.probing.results import NO_PROBE, Score, TaskResults
from audiossl.probing.tasks import Split, Task

OneByOne: TypeAlias = (
    LinearConfig | MlpConfig | NeighborsConfig | HearConfig | FewShotConfig | XaresNeighborsConfig
)
ProbeConfig: TypeAlias = OneByOne | XaresLinearConfig | EvarConfig | MarbleConfig | AttentiveConfig
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
    if task.places is not None:
        embeddings = segments_of(embeddings, task)
    results = []
    for number, turn in enumerate(task.rounds()):
        result = _measured(turn, embeddings, probe, aggregate, torch.device(device))
        results.append(result)
        if number == 0 and isinstance(probe, HearConfig) and probe.variant == "official":
            probe = probe.settled(result[1])
    runs, choices, validation = zip(*results, strict=True)
    return Measured(
        _predictions(task, encoder, name_of(probe), np.concatenate(runs, axis=1)),
        choices[0] if len(choices) == 1 else _of_folds(choices),
        {name: float(np.mean([one[name] for one in validation])) for name in validation[0]},
    )


def _of_folds(choices: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Say what each fold has chosen, where they differ."""
    values = {key: [choice[key] for choice in choices] for key in choices[0]}
    return {
        key: each[0] if len(set(each)) == 1 else " / ".join(map(str, each))
        for key, each in values.items()
    }


def name_of(probe: ProbeConfig) -> str:
    """Name a probe in tables: its kind, and its variant where it has any.

    >>> name_of(HearConfig(variant="clean"))
    'hear-clean'
    """
    variant = getattr(probe, "variant", "")
    return f"{probe.kind}-{variant}" if variant else probe.kind


def _predictions(task: Task, encoder: str, probe: str, runs: np.ndarray) -> Predictions:
    of = counted(task) if task.config.kind == "events" else task
    return predictions_of(of, encoder, probe, runs)


def _measured(
    task: Task,
    embeddings: Embeddings,
    probe: ProbeConfig,
    aggregate: Aggregate,
    device: torch.device,
) -> tuple[Float[np.ndarray, "runs items classes"], dict[str, Any], dict[str, float]]:
    """Predict the test items of one round; give the choice and the validation scores as well."""
    if task.held_out and getattr(probe, "validates_on_test", False):
        learnt = np.where(task.splits == "valid", "train", task.splits)
        task = replace(task, splits=learnt, valid_on="test")
    if task.config.kind == "events":
        return _measured_events(task, embeddings, probe, device)
    _check_scorable(task)
    if isinstance(probe, AttentiveConfig) and task.config.kind != "number" and task.places is None:
        return _measured_frames(task, embeddings, probe, device)
    problems: dict[str, Problem] = {}
    for name in embeddings.vectors:
        train, valid = (_examples(task, embeddings, name, s, aggregate) for s in _CHOICE)
        problems[name] = Problem(train, valid, task.config.kind, task.config.metric, task.classes)
    fits = fit_probes(probe, problems, device)
    best = max(fits, key=lambda name: fits[name].validation)
    test = _examples(task, embeddings, best, "test", aggregate)
    runs = np.stack(
        [test.by_item(probabilities) for probabilities in fits[best].predict(test.vectors)]
    )
    choice = {"embedding": best, **fits[best].choice}
    return runs, choice, {name: fitted.validation for name, fitted in fits.items()}


def _measured_events(
    task: Task, embeddings: Embeddings, probe: ProbeConfig, device: torch.device
) -> tuple[Float[np.ndarray, "runs clips columns"], dict[str, Any], dict[str, float]]:
    """Count the events that a probe of frames finds in the test clips of one round."""
    _check_frames(task, embeddings, "events are found in frames")
    problems = {name: event_problem(task, track) for name, track in embeddings.frames.items()}
    fits = fit_probes(probe, problems, device)
    best = max(fits, key=lambda name: fits[name].validation)
    decoding = problems[best].decoding(fits[best].predict(problems[best].valid.vectors)[0])
    clips = clips_of(task, embeddings.frames[best], "test")
    runs = np.stack(
        [
            clips.found(run, task.classes, decoding)
            for run in fits[best].predict(clips.examples.vectors)
        ]
    )
    choice = {"embedding": best, **fits[best].choice, **asdict(decoding)}
    return runs, choice, {name: fitted.validation for name, fitted in fits.items()}


def _measured_frames(
    task: Task, embeddings: Embeddings, probe: AttentiveConfig, device: torch.device
) -> tuple[Float[np.ndarray, "runs items classes"], dict[str, Any], dict[str, float]]:
    """Predict the test items of one round from all of their frames."""
    _check_frames(task, embeddings, "the attentive probe looks at frames")
    fits = {}
    for name, track in embeddings.frames.items():
        train, valid = (frames_of_items(task, track, split) for split in _CHOICE)
        problem = Problem(train, valid, task.config.kind, task.config.metric, task.classes)
        fits[name] = fit_attentive(probe, problem, device)
    best = max(fits, key=lambda name: fits[name].validation)
    runs = fits[best].predict(frames_of_items(task, embeddings.frames[best], "test"))
    choice = {"embedding": best, **fits[best].choice}
    return runs, choice, {name: fitted.validation for name, fitted in fits.items()}


def _check_frames(task: Task, embeddings: Embeddings, why: str) -> None:
    if not embeddings.frames:
        raise UserError(
            f"task {task.config.name}: {why}, and none were kept: embed with "
            "--embedding.frames true --embedding.layers '[output]'"
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


def fit_probes(
    probe: ProbeConfig, problems: Mapping[str, Problem], device: torch.device | None = None
) -> dict[str, Fitted]:
    """Fit the probe that a config describes on every embedding; heads of all are trained together.

    Args:
        probe: What is fitted.
        problems: Of the same items, by the name of the embedding.
        device: For probes that are trained by gradient.
    """
    kind = next(iter(problems.values())).kind
    if kind == "number" and not isinstance(probe, LinearConfig | NeighborsConfig):
        raise UserError(
            f"probe {name_of(probe)} tells classes, but the task is of numbers: fit linear, which "
            "is ridge regression, or neighbors"
        )
    match probe:
        case XaresLinearConfig():
            return fit_xares_linear(probe, problems, device)
        case EvarConfig():
            return fit_evar(probe, problems, device)
        case MarbleConfig():
            return fit_marble(probe, problems, device)
        case AttentiveConfig():
            raise UserError(
                "probe attentive tells the classes of whole clips, not of segments or events: fit "
                "such tasks without it"
            )
        case _:
            return {name: fit_probe(probe, problem, device) for name, problem in problems.items()}


def fit_probe(probe: OneByOne, problem: Problem, device: torch.device | None = None) -> Fitted:
    """Fit a probe whose embeddings have nothing in common."""
    match probe:
        case LinearConfig():
            return fit_linear(probe, problem)
        case MlpConfig():
            return fit_mlp(probe, problem, device)
        case NeighborsConfig():
            return fit_neighbors(probe, problem)
        case HearConfig():
            return fit_hear(probe, problem, device)
        case FewShotConfig():
            return fit_few_shot(probe, problem)
        case XaresNeighborsConfig():
            return fit_xares_neighbors(probe, problem)
        case _:
            assert_never(probe)


def majority(task: Task) -> Predictions:
    """Say of every test item what is most frequent in train: the same for all."""
    if task.config.kind == "events":
        nothing = counted(task)
        return predictions_of(
            nothing, "majority", NO_PROBE, nothing.targets[task.rows("test")][None]
        )
    shares = [
        np.tile(turn.targets[turn.rows("train")].mean(axis=0), (len(turn.rows("test")), 1))
        for turn in task.rounds()
    ]
    runs = np.concatenate(shares)[None]
    return predictions_of(task, "majority", NO_PROBE, runs)


def chance_scores(task: Task) -> dict[str, float]:
    """Score guessing at random, by every metric of the task."""
    targets = task.targets[task.rows("test")]
    return {name: metric_of(name).over(task.classes).chance(targets) for name in metrics_of(task)}


def intervals(
    predictions: Predictions, names: tuple[str, ...], config: BootstrapConfig
) -> dict[str, Score]:
    """Score predictions by several metrics, each with its interval."""
    return {name: Score.of(interval(metric_of(name), predictions, config)) for name in names}


def metrics_of(task: Task) -> tuple[str, ...]:
    """Name the metrics that a task is reported by, its own first."""
    return reported_metrics(task.config.kind, task.config.metric, task.config.also)


def described(task: Task) -> TaskResults:
    """Describe a task for the record, before it has rows: sizes, classes, what was left out."""
    rows = {split: task.rows(split) for split in ("train", "valid", "test")}
    return TaskResults(
        name=task.config.name,
        label=task.config.label,
        kind=task.config.kind,
        metric=task.config.metric,
        family=task.config.family or task.config.name,
        note=task.config.note,
        classes=tuple(task.classes),
        left_out=tuple(task.left_out),
        items={split: len(chosen) for split, chosen in rows.items()},
        groups={split: len(set(task.groups[chosen])) for split, chosen in rows.items()},
        positives={
            split: tuple(map(float, task.targets[chosen].sum(axis=0)))
            for split, chosen in rows.items()
        },
    )


def _check_scorable(task: Task) -> None:
    """Refuse splits on which the metric is not defined, such as ROC-AUC of a single class."""
    metric = task.config.metric
    for split in ("valid", "test"):
        targets = task.targets[task.rows(split)]
        scored = metric_of(metric).over(task.classes)
        if np.isnan(plain(scored, targets, np.zeros(targets.shape, np.float32))):
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
