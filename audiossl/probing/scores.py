"""Scores of predictions, as functions of weighted items: a bootstrap is then a matter of weights.

Every metric takes many sets of weights at once and sorts but once, so that a thousand replicates of
a macro average precision cost little more than one. Weights of one give the plain score.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

Targets = Bool[np.ndarray, "items classes"]
"""Which classes each item has: one of them, or any number."""
Scores = Float[np.ndarray, "items classes"]
"""What a probe gives each class; only their order matters."""
Weights = Float[np.ndarray, "replicates items"]
"""How often each item counts, in each replicate."""
Values = Float[np.ndarray, " replicates"]
"""NaN where a score is not defined, as where no class has a positive."""
Metric = Callable[[Targets, Scores, Weights], Values]
MetricName = Literal["accuracy", "balanced_accuracy", "roc_auc", "pr_auc"]


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


METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "roc_auc": roc_auc,
    "pr_auc": pr_auc,
}


def equal_error_rate(
    same: Bool[np.ndarray, " trials"],
    scores: Float[np.ndarray, " trials"],
    weights: Float[np.ndarray, "replicates trials"],
) -> Values:
    """Rate at which false alarms and misses are equal, between thresholds by interpolation."""
    positives, negatives = _cumulated(same, scores, weights)
    missed = 1 - _divided(positives, positives[:, -1:])
    alarms = _divided(negatives, negatives[:, -1:])
    start = np.ones((len(weights), 1))
    missed = np.concatenate([start, missed], axis=1)
    alarms = np.concatenate([0 * start, alarms], axis=1)
    gap = alarms - missed  # rises from -1 to 1
    after = np.argmax(gap >= 0, axis=1)
    rows = np.arange(len(weights))
    before = np.maximum(after - 1, 0)
    step = gap[rows, after] - gap[rows, before]
    share = np.where(step > 0, -gap[rows, before] / np.where(step > 0, step, 1), 0.0)
    rate = missed[rows, before] + share * (missed[rows, after] - missed[rows, before])
    return np.where(np.isfinite(gap[:, -1]), rate, np.nan)


def recall_at(
    k: int,
    relevant: Bool[np.ndarray, "queries candidates"],
    similarity: Float[np.ndarray, "queries candidates"],
    weights: Float[np.ndarray, "replicates queries"],
) -> Values:
    """Share of queries with a relevant candidate among the `k` most similar ones.

    Queries without any relevant candidate do not count. Candidates at minus infinity (a query
    itself) are never found.
    """
    asked = relevant.any(axis=1)
    best = np.where(relevant, similarity, -np.inf).max(axis=1, keepdims=True)
    # An equally similar wrong candidate stands before the right one: ties are no merit.
    others = (similarity >= best) & ~relevant & np.isfinite(similarity)
    found = (others.sum(axis=1) < k) & asked
    return _divided(weights @ found, weights @ asked)


def plain(metric: Metric, targets: Targets, scores: Scores) -> float:
    """Score every item once."""
    return float(metric(targets, scores, np.ones((1, len(targets))))[0])


def chance(metric: MetricName, targets: Targets) -> float:
    """Score of guessing at random, every class alike."""
    match metric:
        case "accuracy" | "balanced_accuracy":
            return 1 / targets.shape[1]
        case "roc_auc":
            return 0.5
        case "pr_auc":
            return float(targets.mean())


def _is_right(targets: Targets, scores: Scores) -> Bool[np.ndarray, " items"]:
    return targets[np.arange(len(targets)), scores.argmax(axis=1)]


def _mean_over_classes(
    one: Callable[[np.ndarray, np.ndarray], Values],
    targets: Targets,
    scores: Scores,
    weights: Weights,
) -> Values:
    columns = [
        one(*_cumulated(targets[:, column], scores[:, column], weights))
        for column in range(targets.shape[1])
    ]
    return _mean_of_defined(np.stack(columns, axis=1))


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
