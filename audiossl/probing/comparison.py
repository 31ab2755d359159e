"""Is one system better than another? Paired differences on the same items, and exact tests."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import friedmanchisquare, rankdata

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
    """McNemar's, exact, two-sided, over groups; where each item has one class and each system one
    run."""


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


def grouped_mcnemar(gains: Int[np.ndarray, " groups"]) -> float:
    """Exact two-sided p-value of McNemar's test where the items of a group are alike.

    If both systems were equally good, the gain of each group could as well have the other sign. The
    distribution of the summed gain under all sign flips is computed exactly; where every group has
    one item, it is the exact binomial test.

    Args:
        gains: Of each group, the items that only the first system has right, less those that only
            the second has.

    >>> round(grouped_mcnemar(np.array([1, 1, 1, 0, -1])), 6)
    0.625
    """
    sizes = np.abs(gains[gains != 0]).astype(np.int64)
    reach = int(sizes.sum())
    shares: np.ndarray = np.zeros(2 * reach + 1)
    shares[reach] = 1.0
    for size in sizes.tolist():
        shares = (np.roll(shares, size) + np.roll(shares, -size)) / 2
    far = np.abs(np.arange(-reach, reach + 1)) >= abs(int(gains.sum()))
    return min(1.0, float(shares[far].sum()))


@dataclass(frozen=True)
class RankTest:
    """Systems ranked on each of several tasks."""

    mean_ranks: tuple[float, ...]
    """Mean rank of each system, 1 the best; ties share their mean."""
    p_friedman: float
    """P-value of Friedman's test (1937): small where ranks differ more than by chance."""


def rank_systems(scores: Float[np.ndarray, "tasks systems"]) -> RankTest | None:
    """Rank three or more systems on two or more tasks; None with fewer (Demsar, JMLR 2006).

    >>> rank_systems(np.array([[0.9, 0.5, 0.1], [0.8, 0.7, 0.2]])).mean_ranks
    (1.0, 2.0, 3.0)
    """
    if scores.shape[0] < 2 or scores.shape[1] < 3:
        return None
    ranks = rankdata(-scores, axis=1)
    same = bool((ranks == ranks[:, :1]).all())
    p_friedman = 1.0 if same else float(friedmanchisquare(*scores.T).pvalue)
    return RankTest(tuple(ranks.mean(axis=0).tolist()), p_friedman)


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
    gains = system.is_right()[0].astype(np.int64) - reference.is_right()[0]
    groups = np.unique(system.groups, return_inverse=True)[1]
    return grouped_mcnemar(np.bincount(groups, weights=gains).round().astype(np.int64))
