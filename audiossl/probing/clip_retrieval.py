"""Retrieval of clips by clips: do the nearest ones share a label? Without any training.

Clips of the query's own group (recording, speaker) are no candidates: to find them says that a room
or a voice recurs, and nothing of the label. Similarity is the cosine of vectors.

Recall at 1 is the precision at 1 of AVEX (github.com/earthspecies/avex); average precision is that
of information retrieval, over all candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Shaped

from audiossl.errors import UserError
from audiossl.probing.bootstrap import BootstrapConfig, Interval
from audiossl.probing.retrieval import (
    KS,
    average_precisions,
    joined,
    mean_interval,
    rank_queries,
    recall,
)

_QUERIES_AT_ONCE = 1024


@dataclass(frozen=True)
class ClipRetrieval:
    """Scores over queries that have right candidates and wrong ones."""

    num_queries: int
    recall: dict[int, Interval]
    """Share of queries with a right one among the first k, by k."""
    recall_chance: dict[int, float]
    """The same of a random order."""
    average_precision: Interval
    """Mean over queries (mAP)."""
    average_precision_chance: float
    """Expectation of the same for a random order."""


def retrieve_clips(
    vectors: Float[np.ndarray, "clips dim"],
    classes: Bool[np.ndarray, "clips classes"],
    groups: Shaped[np.ndarray, " clips"],
    config: BootstrapConfig,
    ks: Sequence[int] = KS,
) -> ClipRetrieval:
    """Take every clip as a query to all clips of other groups; one that shares a class is right.

    Args:
        vectors: Embeddings.
        classes: Classes of each clip.
        groups: Recording, speaker, ... of each clip; intervals are drawn over them.
        config: Bootstrap of the intervals.
        ks: Numbers of candidates looked at.

    Raises:
        UserError: No clip has both a right and a wrong candidate.

    Example:
        >>> vectors = np.array([[1.0, 0.1], [1.0, 0.2], [0.1, 1.0], [0.2, 1.0]])
        >>> classes = np.eye(2, dtype=bool)[[0, 0, 1, 1]]
        >>> found = retrieve_clips(vectors, classes, np.arange(4), BootstrapConfig(), ks=[1])
        >>> found.recall[1].score, found.average_precision.score, round(found.recall_chance[1], 3)
        (1.0, 1.0, 0.333)
    """
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    parts, precisions = [], []
    for begin in range(0, len(units), _QUERIES_AT_ONCE):
        rows = slice(begin, begin + _QUERIES_AT_ONCE)
        pool = groups[rows, None] != groups
        relevant = (classes[rows].astype(np.float32) @ classes.T > 0) & pool
        asked = relevant.any(axis=1) & (pool & ~relevant).any(axis=1)
        ranked = (units[rows] @ units.T)[asked], relevant[asked]
        parts.append(rank_queries(*ranked, groups[rows][asked], pool[asked]))
        precisions.append(average_precisions(*ranked, pool[asked]))
    ranks = joined(parts)
    if not len(ranks.ranks):
        raise UserError(
            "no clip has another one of its label, and one of another label, outside of its group: "
            "give more clips, or another --group"
        )
    return ClipRetrieval(
        len(ranks.ranks),
        {k: recall([ranks], k, config) for k in ks},
        {k: ranks.chance(k) for k in ks},
        mean_interval([np.concatenate(precisions)], ranks, config),
        float(np.mean(_random_order(ranks.relevant, ranks.candidates))),
    )


def _random_order(
    relevant: Shaped[np.ndarray, " queries"], candidates: Shaped[np.ndarray, " queries"]
) -> Float[np.ndarray, " queries"]:
    """Give the expected average precision of a random order.

    The candidate at place i is right as often as any, and those before it as often as what is left.
    """
    harmonic = np.cumsum(1 / np.arange(1, candidates.max() + 1))[candidates - 1]
    others = (relevant - 1) / (candidates - 1)
    return (harmonic + others * (candidates - harmonic)) / candidates
