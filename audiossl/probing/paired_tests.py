"""Does one system differ from another? Two tests of the same items that the bootstrap is not.

Swapped predictions: if both systems were equally good, each group's predictions could as well be
the other system's. The difference of scores is computed anew under swaps drawn at random, or under
all of them where groups are few; that holds for any metric, macro averages of precision included.

Folds: scores of k folds are not independent, as their training sets overlap, and a plain t test
calls equal systems different far too often. The corrected test widens the variance by the ratio of
the sizes of test and training sets.

Sources: Noreen, "Computer-Intensive Methods for Testing Hypotheses" (1989), approximate
randomization; Nadeau and Bengio, "Inference for the generalization error" (Machine Learning 2003),
corrected resampled t test.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import t as student

from audiossl.probing.bootstrap import BootstrapConfig
from audiossl.probing.metrics import Metric, metric_of
from audiossl.probing.predictions import Predictions, check_comparable

_HELD = 2**22
"""Weights that are held at once."""


def permutation_test(
    system: Predictions, reference: Predictions, config: BootstrapConfig, metric: str = ""
) -> float | None:
    """Compute the two-sided p-value of swapping two systems' predictions within groups.

    Exact where all swaps are no more than the replicates; else at least 1 / (replicates + 1).

    Args:
        system: Predictions of one; of its runs (seeds) all are swapped together.
        reference: Predictions of the other.
        config: Number of swaps drawn, and the seed of the draws.
        metric: What is scored; by default the task's own.

    Returns:
        None where the metric is not defined on the test items.

    Raises:
        UserError: They are of different tasks, test items, classes or targets.

    Example:
        >>> from audiossl.probing.predictions import Predictions, TaskFacts
        >>> targets = np.eye(2, dtype=bool)[[0, 1, 0, 1]]
        >>> facts = TaskFacts("made", "single", "accuracy", False)
        >>> one, other = (
        ...     Predictions(facts, name, "linear", ("a", "b"), tuple("wxyz"), np.arange(4), targets,
        ...                 np.float32(scores)[None])
        ...     for name, scores in (("good", targets), ("bad", ~targets))
        ... )
        >>> permutation_test(one, other, BootstrapConfig())  # two of sixteen swaps are as extreme
        0.125
    """
    check_comparable(system, reference)
    scored, both = metric_of(metric or system.task.metric), _side_by_side(system, reference)
    observed = _differences(both, scored, np.zeros((1, len(system.targets)), bool))[0]
    if not np.isfinite(observed):
        return None
    parts = [_differences(both, scored, swaps) for swaps in _swaps(system, config)]
    found = np.concatenate(parts)
    found = found[np.isfinite(found)]
    # What is equal but for rounding counts as equal.
    extreme = int(np.sum(np.abs(found) >= abs(observed) - 1e-9))
    if _is_exact(system, config):
        return extreme / max(1, len(found))
    return (extreme + 1) / (len(found) + 1)


def fold_test(system: Predictions, reference: Predictions, metric: str = "") -> float | None:
    """Compute the two-sided p-value of the corrected resampled t test over folds.

    Of k folds, one is tested and one validates while the others train: the ratio of sizes is
    1 / (k - 2).

    Args:
        system: Predictions of one; a fold's score is the mean over runs.
        reference: Predictions of the other.
        metric: What is scored; by default the task's own.

    Returns:
        None where there are no folds, or scores of fewer than two of them are defined.
    """
    check_comparable(system, reference)
    if system.folds is None:
        return None
    scored, once = metric_of(metric or system.task.metric), np.ones((1, len(system.targets)))
    scores = [one.values_of_folds(scored, once).mean(axis=(1, 2)) for one in (system, reference)]
    gains = scores[0] - scores[1]
    return corrected_t_test(gains[np.isfinite(gains)], 1 / max(1, len(gains) - 2))


def corrected_t_test(gains: Float[np.ndarray, " folds"], ratio: float) -> float | None:
    """Compute the two-sided p-value that the mean of dependent differences is 0.

    Args:
        gains: Difference of scores on each fold.
        ratio: Size of a test set over that of its training set; 0 gives the plain paired t test.

    >>> round(corrected_t_test(np.array([0.02, 0.01, 0.03, 0.02, 0.04]), ratio=1 / 3), 4)
    0.0449
    """
    if len(gains) < 2:
        return None
    error = math.sqrt((1 / len(gains) + ratio) * gains.var(ddof=1))
    if error < 1e-12:
        return 1.0 if abs(gains.mean()) < 1e-12 else 0.0
    return float(2 * student.sf(abs(gains.mean()) / error, df=len(gains) - 1))


def _side_by_side(system: Predictions, reference: Predictions) -> Predictions:
    """Put the items of both into one; runs are repeated until there are as many of each."""
    count = math.lcm(len(system.runs), len(reference.runs))
    runs = [np.tile(one.runs, (count // len(one.runs), 1, 1)) for one in (system, reference)]
    folds = system.folds
    return replace(
        system,
        ids=2 * system.ids,
        groups=np.concatenate([system.groups, system.groups]),
        targets=np.concatenate([system.targets, system.targets]),
        runs=np.concatenate(runs, axis=1),
        folds=None if folds is None else np.concatenate([folds, folds]),
    )


def _differences(
    both: Predictions, metric: Metric, swapped: Bool[np.ndarray, "draws items"]
) -> Float[np.ndarray, " draws"]:
    """Score what each system is after the swaps: a swap is a weight, of 1 or of 0, of each item."""
    weights = np.concatenate([~swapped, swapped], axis=1).astype(np.float64)
    one, other = (both.values(metric, part).mean(axis=0) for part in (weights, 1 - weights))
    return one - other


def _swaps(
    predictions: Predictions, config: BootstrapConfig
) -> Iterator[Bool[np.ndarray, "draws items"]]:
    """Draw which groups are swapped, some draws at a time; all swaps where they are few."""
    names, group_of = np.unique(predictions.groups, return_inverse=True)
    exact = _is_exact(predictions, config)
    total = 2 ** len(names) if exact else config.replicates
    generator = np.random.default_rng([config.seed, 2])
    block = max(1, _HELD // len(group_of))
    for begin in range(0, total, block):
        numbers = np.arange(begin, min(total, begin + block))[:, None]
        if exact:
            swapped = (numbers >> np.arange(len(names))) % 2 == 1
        else:
            swapped = generator.random((len(numbers), len(names))) < 0.5
        yield swapped[:, group_of]


def _is_exact(predictions: Predictions, config: BootstrapConfig) -> bool:
    return 2 ** len(np.unique(predictions.groups)) <= config.replicates
