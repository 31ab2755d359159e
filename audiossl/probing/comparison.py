"""Is one system better than another? Paired differences on the same items, and exact tests."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from audiossl.probing.bootstrap import BootstrapConfig, Interval, percentiles, replicates
from audiossl.probing.metrics import metric_of
from audiossl.probing.predictions import Predictions, check_comparable


@dataclass(frozen=True)
class Comparison:
    """One system against a reference, on one task."""

    difference: Interval
    """System minus reference, with its paired interval."""
    probability: float
    """Share of replicates in which the system is better; ties count half."""
    p_bootstrap: float
    """Two-sided, at least 1 / (replicates + 1)."""
    p_mcnemar: float | None
    """Exact, two-sided; where each item has one class and each system one run."""


def compare(
    system: Predictions, reference: Predictions, config: BootstrapConfig, metric: str = ""
) -> Comparison:
    """Compare two systems on the same test items.

    Args:
        system: Predictions of one.
        reference: Predictions of the other.
        config: Number of draws; both systems see the same ones.
        metric: What is scored; by default the task's own.

    Raises:
        UserError: They are of different tasks, test items, classes or targets.
    """
    check_comparable(system, reference)
    name = metric or system.task.metric
    draws = [replicates(metric_of(name), one, config) for one in (system, reference)]
    differences = draws[0] - draws[1]
    differences = differences[np.isfinite(differences)]
    low, high = percentiles(differences, config)
    gain = system.score(name) - reference.score(name)
    better = float(np.mean(differences > 0) + np.mean(differences == 0) / 2)
    beyond = min(np.sum(differences <= 0), np.sum(differences >= 0))
    p_bootstrap = min(1.0, 2 * (int(beyond) + 1) / (len(differences) + 1))
    return Comparison(Interval(gain, low, high), better, p_bootstrap, _mcnemar(system, reference))


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value of McNemar's test (1947).

    Args:
        only_first: Items that only the first system has right.
        only_second: Items that only the second has right.
    """
    total = only_first + only_second
    return float(binomtest(only_first, total).pvalue) if total else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number (Holm 1979): each is what it would be beside the others."""
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def _mcnemar(system: Predictions, reference: Predictions) -> float | None:
    single = system.task.kind == "single" and len(system.runs) == len(reference.runs) == 1
    if not single:
        return None
    first, second = system.is_right()[0], reference.is_right()[0]
    return mcnemar(int((first & ~second).sum()), int((second & ~first).sum()))
