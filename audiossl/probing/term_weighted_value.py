"""Term-weighted value: what a search for spoken queries is worth, whatever they are.

Of every query the share of its documents that are found counts, less the share of other documents
that are wrongly found times a price; the mean over queries is 1 for a perfect search, and 0 where
nothing is found at all. The maximum is over thresholds that all queries have in common.

Source: the term-weighted value of NIST's spoken term detection (2006), over documents as trials, as
QUESST 2014 has it (MediaEval; Anguera et al., 2015): a document in 1250 is right (0.0008), and a
miss costs a hundred times as much as a false alarm. The price of a false alarm is 12.49. Both
numbers are those of the scoring script of QUESST 2015; that of 2014 was not at hand.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

PRIOR, MISS_COST = 0.0008, 100.0
PRICE = (1 - PRIOR) / (MISS_COST * PRIOR)
"""Price of a false alarm, of all documents of a query, against that of a miss of all."""
_HELD = 2**24
"""Numbers that are held at once."""


@dataclass(frozen=True)
class Trials:
    """Whether each query is in each document, and how much it seems so."""

    targets: Bool[np.ndarray, "queries documents"]
    scores: Float[np.ndarray, "queries documents"]
    unsearched_queries: int = 0
    """Queries of a benchmark that were not searched for: nothing of them is found."""
    unsearched_documents: int = 0
    """Documents of a benchmark that were not searched, and hold none of the queries."""

    @property
    def counted(self) -> Bool[np.ndarray, " queries"]:
        """Whether a query is in any document; others are left out, as QUESST's scorer does."""
        return np.asarray(self.targets.any(axis=1))

    @property
    def gains(self) -> Float[np.ndarray, "queries documents"]:
        """Value of accepting each document, of the value of its query."""
        found = self.targets.sum(axis=1, keepdims=True)
        others = self.targets.shape[1] + self.unsearched_documents - found
        prices = -PRICE / np.maximum(1, others)
        gains = np.where(self.targets, 1 / np.maximum(1, found), prices)
        return gains * self.counted[:, None]


def value_at(trials: Trials, threshold: float) -> float:
    """Compute the term-weighted value of accepting scores above a threshold.

    Example:
        >>> trials = Trials(np.array([[True, False]]), np.array([[3.0, 1.0]]))
        >>> value_at(trials, 2.0)
        1.0
        >>> round(value_at(trials, 0.0), 2)  # all of the other documents are wrongly found
        -11.49
    """
    count = trials.counted.sum() + trials.unsearched_queries
    if not trials.counted.any():
        return float("nan")
    return float((trials.gains * (trials.scores > threshold)).sum() / count)


def maximum_values(
    trials: Trials, weights: Float[np.ndarray, "replicates queries"] | None = None
) -> Float[np.ndarray, " replicates"]:
    """Compute the maximum term-weighted value (MTWV), of every replicate of a bootstrap.

    Args:
        trials: Queries and documents.
        weights: How often each query counts; each once by default.

    Returns:
        NaN where no query counts.

    Example:
        >>> trials = Trials(np.eye(2, dtype=bool), np.array([[3.0, 1.0], [2.0, 1.0]]))
        >>> maximum_values(trials).tolist()  # one of two is found, and nothing wrongly
        [0.5]
    """
    if weights is None:
        weights = np.ones((1, len(trials.targets)))
    scores, gains = trials.scores.ravel(), trials.gains.ravel()
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    query_of, gained = order // trials.targets.shape[1], gains[order]
    counts = weights @ trials.counted + trials.unsearched_queries
    block = max(1, _HELD // len(order))
    best = [
        np.cumsum(weights[first : first + block, query_of] * gained, axis=1)[:, ends].max(axis=1)
        for first in range(0, len(weights), block)
    ]
    return np.where(
        weights @ trials.counted > 0, np.maximum(0.0, np.concatenate(best)) / counts.clip(1), np.nan
    )
