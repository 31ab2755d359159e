"""Metrics: a registry of scores as functions of weighted items: a bootstrap is a matter of weights.

A new metric is one entry of `METRICS`, or, in a file of one's own, a `Metric` that a task names by
`metric: python:mine:my_metric`. Every metric takes many sets of weights at once and sorts but once,
so that a thousand replicates of a macro average precision cost little more than one. Weights of one
give the plain score.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy.special import ndtri

from audiossl.errors import UserError, did_you_mean
from audiossl.probing.credits import Credit, near_keys, same_pitch_class
from audiossl.probing.equal_rates import equal_rates
from audiossl.python_objects import PREFIX, python_object

TaskKind = Literal["single", "multi", "number", "events"]
"""Each item has exactly one class, any number of them, a number, or timed events."""
Targets = Shaped[np.ndarray, "items classes"]
"""Classes of each item, one or any number of them; its number; or counts of its events."""
Scores = Float[np.ndarray, "items classes"]
"""What a probe gives each class; only their order matters."""
Weights = Float[np.ndarray, "replicates items"]
"""How often each item counts, in each replicate."""
Values = Float[np.ndarray, " replicates"]
"""NaN where a score is not defined, as where no class has a positive."""
MetricFunction = Callable[[Targets, Scores, Weights], Values]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A score of predictions; higher is better.

    >>> def second_best(targets, scores, weights):
    ...     right = targets & (scores >= np.sort(scores, axis=1)[:, [-2]])
    ...     return weights @ right.any(axis=1) / weights.sum(axis=1)
    >>> top_2 = Metric(
    ...     label="top-2", function=second_best, chance=lambda targets: 2 / targets.shape[1]
    ... )
    >>> plain(top_2, np.eye(3, dtype=bool), np.array([[3, 2, 1.0], [1, 2, 3], [3, 2, 1]]))
    0.6666666666666666
    """

    label: str
    """Label in tables."""
    function: MetricFunction
    """Score of every replicate."""
    chance: Callable[[Targets], float]
    """Score of guessing at random, every class alike."""
    kinds: tuple[TaskKind, ...] = ("single", "multi")
    """Kinds of tasks it can score."""
    reported_for: tuple[TaskKind, ...] = ()
    """Kinds of tasks whose tables list it beside the metric that the task itself names."""
    credit: Callable[[tuple[str, ...]], Credit] | None = None
    """Credit of taking one class for another, from the names of the classes, where it depends on
    them: rows are what is right, columns what is predicted. It takes the place of `function`."""

    def over(self, classes: tuple[str, ...]) -> "Metric":
        """Settle what depends on the names of the classes."""
        if self.credit is None:
            return self
        credit = self.credit(classes)
        return replace(
            self, function=partial(_credited, credit), chance=lambda _: float(credit.mean())
        )


def accuracy(targets: Targets, scores: Scores, weights: Weights) -> Values:
    """Share of items whose highest score is at their class."""
    right = _is_right(targets, scores)
    return _divided(weights @ right, weights.sum(axis=1))


def balanced_accuracy(targets: Targets, scores: Scores, weights: Weights) -> Values:
    """Mean over classes of the share of a class's items that are right; absent classes are none."""
    right = _is_right(targets, scores)
    hits = weights @ (targets * right[:, None]).astype(weights.dtype)
    return _mean_of_defined(_divided(hits, weights @ targets.astype(weights.dtype)))


def roc_auc(targets: Targets, scores: Scores, weights: Weights) -> Values:
    """Mean over classes of the area under the ROC curve; equal scores count half."""
    return _mean_over_classes(_class_roc_auc, targets, scores, weights)


def pr_auc(targets: Targets, scores: Scores, weights: Weights) -> Values:
    """Mean over classes of average precision: the sum of precision times the step in recall."""
    return _mean_over_classes(_class_average_precision, targets, scores, weights)


def d_prime(targets: Targets, scores: Scores, weights: Weights) -> Values:
    """Separation of two unit normal distributions with the same macro ROC-AUC, as in AudioSet."""
    return np.asarray(np.sqrt(2.0) * ndtri(roc_auc(targets, scores, weights)))


def mean_d_prime(targets: Targets, scores: Scores, weights: Weights) -> Values:
    """Mean over classes of each one's d', as in HEAR; that of a perfect class is infinite."""
    areas = _of_classes(_class_roc_auc, targets, scores, weights)
    return _mean_of_defined(np.sqrt(2.0) * ndtri(areas))


def neg_eer(targets: Targets, scores: Scores, weights: Weights) -> Values:
    """Equal error rate of accepting the second class by its score, negated."""
    return -equal_rates(*_errors(targets, scores, weights))


def neg_min_dcf(targets: Targets, scores: Scores, weights: Weights) -> Values:
    """Least detection cost of NIST, of a target prior of 0.01 and equal costs, negated."""
    misses, alarms = _errors(targets, scores, weights)
    return -(misses + (1 - _PRIOR) / _PRIOR * alarms).min(axis=1)


def r2(targets: Targets, scores: Scores, weights: Weights) -> Values:
    """Share of the variance of numbers that is explained; that of their mean is 0."""
    mean = _divided(weights @ targets[:, 0], weights.sum(axis=1))
    spread = (weights * (targets[:, 0] - mean[:, None]) ** 2).sum(axis=1)
    return 1 - _divided(weights @ (targets[:, 0] - scores[:, 0]) ** 2, spread)


def pearson(targets: Targets, scores: Scores, weights: Weights) -> Values:
    """Correlation of numbers with what is predicted of them; 0 if the same is predicted of all."""
    total = weights.sum(axis=1)
    left, right = (
        part - _divided(weights @ part, total)[:, None]
        for part in (targets[:, 0].astype(np.float64), scores[:, 0].astype(np.float64))
    )
    spread, predicted = (weights * left**2).sum(axis=1), (weights * right**2).sum(axis=1)
    together = (weights * left * right).sum(axis=1)
    known = _divided(together, np.sqrt(spread * predicted))
    return np.where((spread > 0) & (predicted <= 1e-12 * total), 0.0, known)


def neg_mse(targets: Targets, scores: Scores, weights: Weights) -> Values:
    """Mean squared error of numbers, negated."""
    errors = (targets[:, 0] - scores[:, 0]).astype(np.float64) ** 2
    return -_divided(weights @ errors, weights.sum(axis=1))


def _always(score: float) -> Callable[[Targets], float]:
    return lambda _: score


def _of_classes_alike(targets: Targets) -> float:
    return 1 / targets.shape[1]


EVENT_SCORES = (
    "event_onset_200ms", "event_onset_50ms", "event_onset_offset_50ms", "neg_segment_error",
)  # fmt: skip
"""Scores of events. Predictions have four columns for each: hits, substitutions, events of the
reference, and events that were found."""


def _event_sums(name: str, scores: Scores, weights: Weights) -> Float[np.ndarray, "4 replicates"]:
    first = 4 * EVENT_SCORES.index(name)
    return (weights @ scores[:, first : first + 4]).T


def _event_metric(name: str, label: str) -> Metric:
    def f1(targets: Targets, scores: Scores, weights: Weights) -> Values:  # noqa: ARG001
        hits, _, reference, found = _event_sums(name, scores, weights)
        return _divided(2 * hits, reference + found)

    return Metric(label=label, function=f1, chance=_always(0.0), kinds=("events",))


def neg_segment_error(targets: Targets, scores: Scores, weights: Weights) -> Values:  # noqa: ARG001
    """Substitutions, deletions and insertions for each active class and second, negated."""
    hits, swapped, reference, found = _event_sums("neg_segment_error", scores, weights)
    return -_divided(reference + found - 2 * hits - swapped, reference)


METRICS: dict[str, Metric] = {
    "accuracy": Metric(
        label="accuracy",
        function=accuracy,
        chance=_of_classes_alike,
        kinds=("single",),
        reported_for=("single",),
    ),
    "balanced_accuracy": Metric(
        label="balanced accuracy",
        function=balanced_accuracy,
        chance=_of_classes_alike,
        kinds=("single",),
        reported_for=("single",),
    ),
    "pr_auc": Metric(
        label="macro average precision",
        function=pr_auc,
        chance=lambda targets: float(targets.mean()),
        reported_for=("multi",),
    ),
    "roc_auc": Metric(
        label="macro ROC-AUC",
        function=roc_auc,
        chance=_always(0.5),
        reported_for=("multi",),
    ),
    "d_prime": Metric(label="d'", function=d_prime, chance=_always(0.0)),
    "mean_d_prime": Metric(label="mean d' of classes", function=mean_d_prime, chance=_always(0.0)),
    "chroma_accuracy": Metric(
        label="chroma accuracy",
        function=accuracy,
        chance=_always(1 / 12),
        kinds=("single",),
        credit=same_pitch_class,
    ),
    "key_score": Metric(
        label="weighted key score",
        function=accuracy,
        chance=_of_classes_alike,
        kinds=("single",),
        credit=near_keys,
    ),
    "neg_eer": Metric(
        label="-EER",
        function=neg_eer,
        chance=_always(-0.5),
        kinds=("single",),
    ),
    "neg_min_dcf": Metric(
        label="-minDCF",
        function=neg_min_dcf,
        chance=_always(-1.0),
        kinds=("single",),
    ),
    "event_onset_200ms": _event_metric("event_onset_200ms", "F1 of onsets, 200 ms"),
    "event_onset_50ms": _event_metric("event_onset_50ms", "F1 of onsets, 50 ms"),
    "event_onset_offset_50ms": _event_metric(
        "event_onset_offset_50ms", "F1 of onsets, 50 ms, and offsets, 20 %"
    ),
    "neg_segment_error": Metric(
        label="-error rate of seconds",
        function=neg_segment_error,
        chance=_always(-1.0),
        kinds=("events",),
    ),
    "r2": Metric(
        label="R²",
        function=r2,
        chance=_always(0.0),
        kinds=("number",),
        reported_for=("number",),
    ),
    "pearson": Metric(
        label="correlation",
        function=pearson,
        chance=_always(0.0),
        kinds=("number",),
        reported_for=("number",),
    ),
    "neg_mse": Metric(
        label="-MSE",
        function=neg_mse,
        chance=lambda targets: -float(targets.var()),
        kinds=("number",),
        reported_for=("number",),
    ),
}


def metric_of(name: str) -> Metric:
    """Find a metric by its name.

    Args:
        name: One of `METRICS`, or "python:module:name" of a `Metric`.

    Raises:
        UserError: There is none.
    """
    if name.startswith(PREFIX):
        metric = python_object(name)
        if not isinstance(metric, Metric):
            raise UserError(f"{name}: is no audiossl.probing.metrics.Metric, but {metric!r}")
        return metric
    if name not in METRICS:
        known = f"known: {', '.join(METRICS)}, or python:module:name"
        raise UserError(f"unknown metric {name!r}{did_you_mean(name, METRICS)} ({known})")
    return METRICS[name]


def metric_label(name: str) -> str:
    """Say what tables call a metric; one that is not there any more keeps its name.

    >>> metric_label("pr_auc")
    'macro average precision'
    """
    try:
        return metric_of(name).label
    except UserError:
        return name.rpartition(":")[2].replace("_", " ")


def reported_metrics(kind: TaskKind, own: str, also: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Name the metrics that a task is reported by, its own first, `also` among them.

    >>> reported_metrics("single", "balanced_accuracy")
    ('balanced_accuracy', 'accuracy')
    """
    others = (name for name, metric in METRICS.items() if kind in metric.reported_for)
    return tuple(dict.fromkeys((own, *also, *others)))


def plain(metric: Metric, targets: Targets, scores: Scores) -> float:
    """Score every item once."""
    return float(metric.function(targets, scores, np.ones((1, len(targets))))[0])


def _is_right(targets: Targets, scores: Scores) -> Bool[np.ndarray, " items"]:
    return targets[np.arange(len(targets)), scores.argmax(axis=1)]


def _mean_over_classes(
    one: Callable[[np.ndarray, np.ndarray], Values],
    targets: Targets,
    scores: Scores,
    weights: Weights,
) -> Values:
    return _mean_of_defined(_of_classes(one, targets, scores, weights))


def _of_classes(
    one: Callable[[np.ndarray, np.ndarray], Values],
    targets: Targets,
    scores: Scores,
    weights: Weights,
) -> Float[np.ndarray, "replicates classes"]:
    columns = [
        one(*_cumulated(targets[:, column], scores[:, column], weights))
        for column in range(targets.shape[1])
    ]
    return np.stack(columns, axis=1)


def _errors(
    targets: Targets, scores: Scores, weights: Weights
) -> tuple[Float[np.ndarray, "replicates steps"], Float[np.ndarray, "replicates steps"]]:
    """Give the shares of misses and false alarms at every threshold, none accepted first."""
    if targets.shape[1] != 2:
        raise UserError(f"an error rate of verification needs two classes, not {targets.shape[1]}")
    counts = _cumulated(targets[:, 1], scores[:, 1], weights)
    accepted, alarms = (
        np.concatenate([np.zeros((len(part), 1)), _divided(part, part[:, -1:])], axis=1)
        for part in counts
    )
    return 1 - accepted, alarms


def _credited(credit: Credit, targets: Targets, scores: Scores, weights: Weights) -> Values:
    gains = credit[targets.argmax(axis=1), scores.argmax(axis=1)]
    return _divided(weights @ gains, weights.sum(axis=1))


_PRIOR = 0.01


def _cumulated(
    positive: Bool[np.ndarray, " items"], scores: Float[np.ndarray, " items"], weights: Weights
) -> tuple[Float[np.ndarray, "replicates steps"], Float[np.ndarray, "replicates steps"]]:
    """Count positives and negatives from the highest score down, equal scores in one step."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    chosen = weights[:, order]
    positives = np.cumsum(chosen * positive[order], axis=1)[:, ends]
    return positives, np.cumsum(chosen, axis=1)[:, ends] - positives


def _class_roc_auc(positives: np.ndarray, negatives: np.ndarray) -> Values:
    steps = np.diff(negatives, axis=1, prepend=0.0)
    before = np.concatenate([np.zeros((len(positives), 1)), positives[:, :-1]], axis=1)
    area = (steps * (positives + before) / 2).sum(axis=1)
    return _divided(area, positives[:, -1] * negatives[:, -1])


def _class_average_precision(positives: np.ndarray, negatives: np.ndarray) -> Values:
    steps = np.diff(positives, axis=1, prepend=0.0)
    precision = np.nan_to_num(_divided(positives, positives + negatives))
    return _divided((steps * precision).sum(axis=1), positives[:, -1])


def _divided(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Divide, with NaN where there is nothing to divide by."""
    return np.where(below > 0, above / np.where(below > 0, below, 1.0), np.nan)


def _mean_of_defined(values: Float[np.ndarray, "replicates classes"]) -> Values:
    defined = np.isfinite(values)
    return _divided(np.where(defined, values, 0.0).sum(axis=1), defined.sum(axis=1))
