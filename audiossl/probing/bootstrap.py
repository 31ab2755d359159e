"""Intervals by resampling: recordings, speakers or songs are drawn with replacement, not clips.

Clips of one recording are alike, and counting them as independent makes intervals too narrow. What
is drawn is therefore a group, with all its items. Of a system with several runs (seeds) the runs
are drawn as well, so that luck in training is in the interval, as far as a few seeds can tell. Two
systems are compared on the same draws.

Sources: percentile bootstrap (Efron); over clusters as Bisani and Ney (ICASSP 2004) have it for
word error rates.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped

from audiossl.configs import Count, Share, Whole
from audiossl.probing.metrics import Metric, Values
from audiossl.probing.predictions import Predictions

_HELD = 2**23
"""Weights that are held at once."""


@dataclass(frozen=True, kw_only=True)
class BootstrapConfig:
    """How intervals are made."""

    replicates: Count = 1000
    """Number of bootstrap replicates; 10000 where a p-value below 0.01 is of interest."""
    confidence: Share = 0.95
    """Share of replicates inside the interval."""
    seed: Whole = 0
    """Random seed of the draws."""


@dataclass(frozen=True)
class Interval:
    """A score and the range in which most replicates lie."""

    score: float
    low: float
    high: float


def interval(metric: Metric, predictions: Predictions, config: BootstrapConfig) -> Interval:
    """Score predictions, averaged over runs (seeds), with an interval.

    Groups are drawn; where the task says so, within each class, so that rare ones are in every
    replicate.
    """
    scores = predictions.values(metric, np.ones((1, len(predictions.targets))))
    low, high = percentiles(replicates(metric, predictions, config), config)
    return Interval(float(np.mean(scores)), low, high)


def replicates(metric: Metric, predictions: Predictions, config: BootstrapConfig) -> Values:
    """Score every replicate: a draw of groups and of runs, the same for the same groups."""
    parts = [
        predictions.values(metric, weights)
        for weights in group_weights(predictions.groups, config, predictions.strata)
    ]
    values = np.concatenate(parts, axis=1)
    return (values * run_weights(len(values), config)).sum(axis=0)


def ratio_replicates(
    rows: Float[np.ndarray, "runs items two"],
    groups: Shaped[np.ndarray, " items"],
    config: BootstrapConfig,
) -> Values:
    """Divide sums over items in every replicate, as error rates are: a draw of groups and of runs.

    Args:
        rows: Numerator and denominator of each item, in each run.
        groups: What is drawn.
        config: How many draws.

    Example:
        >>> rows = np.array([[[1.0, 2.0], [1.0, 2.0]]])
        >>> ratio_replicates(rows, np.array(["a", "b"]), BootstrapConfig(replicates=2)).tolist()
        [0.5, 0.5]
    """
    parts = []
    for weights in group_weights(groups, config):
        sums = np.einsum("ri,nik->nrk", weights, rows)
        with np.errstate(invalid="ignore", divide="ignore"):
            parts.append(sums[..., 0] / sums[..., 1])
    values = np.concatenate(parts, axis=1)
    return (values * run_weights(len(values), config)).sum(axis=0)


def run_weights(count: int, config: BootstrapConfig) -> Float[np.ndarray, "runs replicates"]:
    """Draw runs with replacement: the share of each in every replicate.

    Runs of two systems are drawn alike: those of one seed stay together, which costs nothing where
    a seed says nothing.
    """
    generator = np.random.default_rng([config.seed, 1])
    drawn = generator.integers(count, size=(config.replicates, count))
    return np.stack([(drawn == run).mean(axis=1) for run in range(count)])


def percentiles(values: Values, config: BootstrapConfig) -> tuple[float, float]:
    """Give the ends of the interval; replicates in which nothing is defined are left out.

    Example:
        >>> percentiles(np.arange(101.0), BootstrapConfig(confidence=0.5))
        (25.0, 75.0)
    """
    tail = (1 - config.confidence) / 2
    defined = values[np.isfinite(values)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def group_weights(
    groups: Shaped[np.ndarray, " items"],
    config: BootstrapConfig,
    strata: Shaped[np.ndarray, " items"] | None = None,
) -> Iterator[Float[np.ndarray, "replicates items"]]:
    """Draw groups with replacement; yield how often each item counts, some replicates at a time.

    Args:
        groups: What is drawn: the recording, speaker, ... of each item.
        config: How many draws.
        strata: Groups are drawn within each of these (of a group's first item); all together by
            default.
    """
    _, first, group_of = np.unique(groups, return_index=True, return_inverse=True)
    within = np.zeros(len(first), np.int64)
    if strata is not None:
        within = np.unique(strata[first], return_inverse=True)[1]
    generator = np.random.default_rng(config.seed)
    block = max(1, _HELD // max(1, len(groups)))
    for begin in range(0, config.replicates, block):
        count = min(block, config.replicates - begin)
        yield _counts(within, count, generator)[:, group_of].astype(np.float64)


def _counts(
    strata: Int[np.ndarray, " groups"], count: int, generator: np.random.Generator
) -> Int[np.ndarray, "replicates groups"]:
    """Draw as many groups from each stratum as it has; count how often each was drawn."""
    total = len(strata)
    order = np.argsort(strata, kind="stable")
    begins = np.searchsorted(strata[order], strata[order], side="left")
    sizes = np.searchsorted(strata[order], strata[order], side="right") - begins
    places = begins + (generator.random((count, total)) * sizes).astype(np.int64)
    rows = np.arange(count)[:, None] * total
    drawn = (rows + order[places]).ravel()
    return np.bincount(drawn, minlength=count * total).reshape(count, total)
