"""Neighbor probe: what the k most similar training embeddings say; nothing is learnt.

Cosine of standardized embeddings; neighbors vote with weight exp(cosine / 0.07), as in the
evaluations of DINO (Caron et al., 2021), or all alike.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from audiossl.probing.probe import Fitted, Problem, Standardizer

_BLOCK = 1024
"""Rows that are compared with all training rows at once."""


@dataclass(frozen=True, kw_only=True)
class NeighborsConfig:
    """k nearest neighbors."""

    kind: Literal["neighbors"] = "neighbors"
    counts: tuple[int, ...] = (1, 3, 5, 10, 20)
    """Numbers of neighbors k to choose from."""
    temperature: float | None = 0.07
    """Temperature of the neighbors' weights exp(cosine / temperature); null: equal weights."""


def fit_neighbors(config: NeighborsConfig, problem: Problem) -> Fitted:
    """Keep the k with the best validation score, the smallest if equal.

    Example:
        >>> from audiossl.probing.probe import Examples
        >>> rows = np.float32([[0, 1], [1, 1], [9, -5], [8, -5]])
        >>> examples = Examples(rows, np.arange(4), np.eye(2, dtype=bool)[[0, 0, 1, 1]])
        >>> problem = Problem(examples, examples, "single", "accuracy")
        >>> fit_neighbors(NeighborsConfig(counts=(1, 3)), problem).choice
        {'k': 1}
    """
    scaled = Standardizer(problem.train.vectors)
    known = _unit(scaled(problem.train.vectors))
    targets = problem.train.row_targets.astype(np.float32)
    counts = sorted({min(count, len(known)) for count in config.counts})

    def votes(vectors: np.ndarray) -> list[np.ndarray]:
        rows = _unit(scaled(vectors))
        blocks = [
            _votes(rows[first : first + _BLOCK], known, targets, counts, config.temperature)
            for first in range(0, len(rows), _BLOCK)
        ]
        return [np.concatenate(parts) for parts in zip(*blocks, strict=True)]

    scores = [problem.validation(probabilities) for probabilities in votes(problem.valid.vectors)]
    best = int(np.argmax(scores))
    return Fitted({"k": counts[best]}, scores[best], lambda vectors: votes(vectors)[best][None])


def _votes(
    rows: Float[np.ndarray, "rows dim"],
    known: Float[np.ndarray, "train dim"],
    targets: Float[np.ndarray, "train classes"],
    counts: list[int],
    temperature: float | None,
) -> list[Float[np.ndarray, "rows classes"]]:
    """Let the nearest training rows vote, for every count; shares of the vote add up to 1."""
    similarity = rows @ known.T
    most = max(counts)
    nearest = np.argpartition(-similarity, most - 1, axis=1)[:, :most]
    cosines = np.take_along_axis(similarity, nearest, axis=1)
    order = np.argsort(-cosines, axis=1, kind="stable")
    nearest, cosines = (np.take_along_axis(part, order, axis=1) for part in (nearest, cosines))
    # Relative to the nearest, so that nothing overflows; shares do not change by it.
    weights = (
        np.exp((cosines - cosines[:, :1]) / temperature) if temperature else np.ones_like(cosines)
    )
    weighted = weights[..., None] * targets[nearest]
    sums, totals = weighted.cumsum(axis=1), weights.cumsum(axis=1)
    return [sums[:, count - 1] / totals[:, count - 1, None] for count in counts]


def _unit(vectors: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim"]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(norms, 1e-12)
