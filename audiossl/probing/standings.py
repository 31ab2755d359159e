"""Encoders against one another over many tasks: standard scores by family of tasks, and ranks.

On each task an encoder's score becomes its distance from the median of all encoders, in robust
standard deviations; distances are averaged over the tasks of a family, and families over one
another, so that five sets of tags do not outvote one of pitch. Intervals are of bootstrap draws of
test items in which all encoders are scored, and compared, anew.

Scores depend on who takes part: another encoder changes those of all, so that only raw scores are
worth keeping. A task that tells most encoders nothing apart has no such score; nothing is imputed.

Source: Goldblum et al., "Battle of the Backbones" (NeurIPS 2023), which averages z-scores. Ours:
median and median absolute deviation, because one random encoder would widen a standard deviation;
families; intervals.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import median_abs_deviation, rankdata

from audiossl.probing.bootstrap import BootstrapConfig, Interval, percentiles


@dataclass(frozen=True)
class Standing:
    """Where one encoder stands among all."""

    encoder: str
    overall: Interval
    """Mean over families of standard scores."""
    families: Mapping[str, float]
    """Mean standard score over the tasks of each family."""
    mean_rank: float
    """Mean over tasks, 1 the best; ties share their mean."""


def standings(
    scores: Float[np.ndarray, "encoders tasks draws"],
    encoders: Sequence[str],
    families: Sequence[str],
    config: BootstrapConfig,
) -> list[Standing]:
    """Rank encoders, the best first.

    Args:
        scores: By any metric of which more is better; draw 0 is of all test items, the others are
            bootstrap replicates, the same for all encoders.
        encoders: Names of the rows.
        families: Family of each task.
        config: Share of replicates inside an interval.

    Example:
        >>> scores = np.array([[0.9, 0.8], [0.5, 0.6], [0.4, 0.1]])[..., None].repeat(2, axis=2)
        >>> table = standings(scores, ["a", "b", "c"], ["speech", "music"], BootstrapConfig())
        >>> [(row.encoder, row.mean_rank) for row in table]
        [('a', 1.0), ('b', 2.0), ('c', 3.0)]
    """
    standard = standard_scores(scores)
    names = list(dict.fromkeys(families))
    of_family = np.array(families)
    by_family = np.stack([_mean(standard[:, of_family == name]) for name in names], axis=1)
    overall = _mean(by_family)
    ranks = rankdata(-scores[:, :, 0], axis=0).mean(axis=1)
    rows = [
        Standing(
            encoder,
            Interval(float(overall[row, 0]), *percentiles(overall[row, 1:], config)),
            dict(zip(names, by_family[row, :, 0].tolist(), strict=True)),
            float(ranks[row]),
        )
        for row, encoder in enumerate(encoders)
    ]
    return sorted(rows, key=lambda row: (-np.nan_to_num(row.overall.score), row.mean_rank))


def standard_scores(
    scores: Float[np.ndarray, "encoders *tasks"],
) -> Float[np.ndarray, "encoders *tasks"]:
    """Subtract the median over encoders, and divide by 1.4826 median absolute deviations.

    NaN where more than half of the encoders score alike.

    >>> standard_scores(np.array([1.0, 2.0, 3.0, 4.0, 100.0])).round(2).tolist()
    [-1.35, -0.67, 0.0, 0.67, 65.43]
    """
    spread = median_abs_deviation(scores, axis=0, scale="normal")
    return (scores - np.median(scores, axis=0)) / np.where(spread > 1e-12, spread, np.nan)


def _mean(values: Float[np.ndarray, "encoders some draws"]) -> Float[np.ndarray, "encoders draws"]:
    """Average over the second dimension what is defined; NaN where nothing is."""
    defined = np.isfinite(values)
    count = defined.sum(axis=1)
    return np.where(defined, values, 0.0).sum(axis=1) / np.where(count, count, np.nan)
