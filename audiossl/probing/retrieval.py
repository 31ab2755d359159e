"""Retrieval of one modality of a clip by another: recall at k and ranks, with chance and intervals.

A query may have several right candidates (two readings of one text, all stems of one window). To
find any of them is right, and the others are never counted as errors: the rank of a query is one
more than the number of wrong candidates that are as similar as its best right one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy.stats import rankdata

from audiossl.probing.bootstrap import (
    BootstrapConfig,
    Interval,
    group_weights,
    percentiles,
    run_weights,
)

KS = (1, 5, 10)


@dataclass(frozen=True)
class Ranks:
    """How every query did, and how guessing would."""

    ranks: Int[np.ndarray, " queries"]
    """Ranks, from 1."""
    relevant: Int[np.ndarray, " queries"]
    """Right candidates of each query."""
    candidates: Int[np.ndarray, " queries"]
    """All of its candidates."""
    groups: Shaped[np.ndarray, " queries"]
    """Groups that are resampled."""

    def chance(self, k: int) -> float:
        """Recall at k of a random order."""
        right, all_ = self.relevant.astype(float), self.candidates.astype(float)
        missed = np.ones(len(right))
        for step in range(min(k, int(all_.max()))):
            # No right one among the first k: draws without replacement.
            missed *= np.clip((all_ - right - step) / np.maximum(all_ - step, 1.0), 0.0, 1.0)
        return float(1.0 - missed.mean())


def rank_queries(
    similarity: Float[np.ndarray, "queries candidates"],
    relevant: Bool[np.ndarray, "queries candidates"],
    groups: Shaped[np.ndarray, " queries"],
    pool: Bool[np.ndarray, "queries candidates"] | None = None,
) -> Ranks:
    """Rank the best right candidate of every query; queries without one, or another, are left out.

    Args:
        similarity: Of queries to candidates.
        relevant: Which candidates are right.
        groups: Of the queries.
        pool: Candidates that a query is to choose from, its right ones apart; all by default.

    Example:
        >>> similarity = np.array([[0.9, 0.1], [0.8, 0.2]])  # query 1 prefers candidate 0
        >>> rank_queries(similarity, np.eye(2, dtype=bool), np.arange(2)).ranks
        array([1, 2])
    """
    allowed = relevant if pool is None else relevant | pool
    if pool is None:
        allowed = np.ones_like(relevant)
    best = np.where(relevant, similarity, -np.inf).max(axis=1, keepdims=True)
    # Ties are no merit, and a similarity that is no number is no smaller than any.
    above = ~(similarity < best) & allowed & ~relevant
    count = relevant.sum(axis=1)
    asked = (count > 0) & (allowed.sum(axis=1) > count)
    return Ranks(
        above.sum(axis=1)[asked] + 1, count[asked], allowed.sum(axis=1)[asked], groups[asked]
    )


def average_precisions(
    similarity: Float[np.ndarray, "queries candidates"],
    relevant: Bool[np.ndarray, "queries candidates"],
    pool: Bool[np.ndarray, "queries candidates"],
) -> Float[np.ndarray, " queries"]:
    """Average the precision at each right candidate of a query; NaN for a query without one.

    Args:
        similarity: Of queries to candidates; ties are ordered to the query's disadvantage.
        relevant: Which candidates are right.
        pool: Candidates that a query is to choose from, its right ones among them.

    Example:
        >>> similarity, relevant = np.array([[3.0, 2.0, 1.0]]), np.array([[True, False, True]])
        >>> average_precisions(similarity, relevant, np.ones((1, 3), bool)).round(3)
        array([0.833])
    """
    # Of equal ones, wrong candidates come first; a similarity that is no number is the worst.
    unknown = np.where(relevant, -np.inf, np.inf)
    known = np.where(pool, np.where(np.isnan(similarity), unknown, similarity), -np.inf)
    order = np.lexsort((relevant, -known), axis=1)
    hits = np.take_along_axis(relevant, order, axis=1)
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    count = hits.sum(axis=1)
    return (precision * hits).sum(axis=1) / np.where(count, count, np.nan)


def joined(parts: Sequence[Ranks]) -> Ranks:
    """Put the queries of several draws of candidates together."""
    columns = [(part.ranks, part.relevant, part.candidates, part.groups) for part in parts]
    return Ranks(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def fused(
    similarity: Float[np.ndarray, "queries candidates"],
    other: Float[np.ndarray, "queries candidates"],
    weight: float,
) -> Float[np.ndarray, "queries candidates"]:
    """Add two similarities by their ranks among each query's candidates, which have no scale.

    Args:
        similarity: Of queries to candidates.
        other: Another similarity of the same.
        weight: Of the other's ranks; that of the first is 1.
    """
    return normalized_ranks(similarity) + weight * normalized_ranks(other)


def normalized_ranks(
    similarity: Float[np.ndarray, "queries candidates"],
) -> Float[np.ndarray, "queries candidates"]:
    """Give the best candidate of a query 1 and its worst nearly 0; ties share their mean."""
    return rankdata(similarity, axis=1) / similarity.shape[1]


def recall(runs: Sequence[Ranks], k: int, config: BootstrapConfig) -> Interval:
    """Give recall at k with its interval over groups, and over runs if there are several seeds.

    Args:
        runs: The same queries under each seed of a system.
        k: How many candidates are looked at.
        config: Of the interval.
    """
    return mean_interval([ranks.ranks <= k for ranks in runs], runs[0], config)


def recall_difference(
    runs: Sequence[Ranks], control: Sequence[Ranks], k: int, config: BootstrapConfig
) -> Interval:
    """Give recall at k above that of a control on the same queries, seed by seed."""
    gains = [
        (ranks.ranks <= k).astype(np.float64) - (other.ranks <= k)
        for ranks, other in zip(runs, control, strict=True)
    ]
    return mean_interval(gains, runs[0], config)


def median_rank(runs: Sequence[Ranks], config: BootstrapConfig) -> Interval:
    """Give the median rank, averaged over runs, with its interval."""
    medians = np.stack(
        [
            np.concatenate([_medians(ranks.ranks, w) for w in group_weights(ranks.groups, config)])
            for ranks in runs
        ]
    )
    replicates = (medians * run_weights(len(runs), config)).sum(axis=0)
    once = [_medians(ranks.ranks, np.ones((1, len(ranks.ranks))))[0] for ranks in runs]
    return Interval(float(np.mean(once)), *percentiles(replicates, config))


def mean_interval(
    values: Sequence[Shaped[np.ndarray, " queries"]], ranks: Ranks, config: BootstrapConfig
) -> Interval:
    """Average a value over queries, with an interval over groups, and over runs if there are any.

    Args:
        values: Of every query, in each run.
        ranks: Of the same queries, whose groups are drawn.
        config: Of the interval.
    """
    stacked = np.stack(values).astype(np.float64)
    parts = [
        stacked @ weights.T / weights.sum(axis=1) for weights in group_weights(ranks.groups, config)
    ]
    replicates = np.concatenate(parts, axis=1) * run_weights(len(values), config)
    return Interval(float(stacked.mean()), *percentiles(replicates.sum(axis=0), config))


def _medians(
    ranks: Shaped[np.ndarray, " queries"], weights: Float[np.ndarray, "replicates queries"]
) -> Float[np.ndarray, " replicates"]:
    """Give `np.median` of the ranks, each repeated as often as its weight says."""
    order = np.argsort(ranks, kind="stable")
    cumulated = np.cumsum(weights[:, order], axis=1)
    half = cumulated[:, -1:] / 2
    lower, upper = (cumulated >= half).argmax(axis=1), (cumulated > half).argmax(axis=1)
    return (ranks[order][lower] + ranks[order][upper]) / 2
