"""What probes have in common: rows of embeddings, the items they are of, and a choice on some."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from audiossl.audio.presentation import mean_of_windows
from audiossl.probing.metrics import TaskKind, metric_of, plain


@dataclass(frozen=True)
class Examples:
    """Embeddings of the items of a split: one row each, or one for each of their windows.

    Example:
        >>> targets = np.array([[True, False], [False, True]])
        >>> windows = Examples(np.float32([[0], [2], [5]]), np.array([0, 0, 1]), targets)
        >>> windows.averaged().vectors.tolist()
        [[1.0], [5.0]]
    """

    vectors: Float[np.ndarray, "rows dim"]
    items: Int[np.ndarray, " rows"]
    """Item of each row, ascending from 0; every item has at least one."""
    targets: Bool[np.ndarray, "items classes"]

    @property
    def row_targets(self) -> Bool[np.ndarray, "rows classes"]:
        """Classes of the item that each row is of."""
        return self.targets[self.items]

    def by_item(
        self, values: Float[np.ndarray, "rows columns"]
    ) -> Float[np.ndarray, "items columns"]:
        """Average over the rows of each item."""
        if len(self.items) == len(self.targets):
            return values
        starts = np.searchsorted(self.items, np.arange(len(self.targets)))
        return mean_of_windows(values, starts)

    def averaged(self) -> "Examples":
        """Average the embeddings of each item's windows."""
        everything = np.arange(len(self.targets))
        return Examples(self.by_item(self.vectors), everything, self.targets)


@dataclass(frozen=True)
class Problem:
    """Training examples of a probe, and validation examples that select its settings."""

    train: Examples
    valid: Examples
    kind: TaskKind
    metric: str

    def validation(self, row_scores: Float[np.ndarray, "rows classes"]) -> float:
        """Score what a probe says of the validation rows, averaged over each item's windows."""
        return plain(metric_of(self.metric), self.valid.targets, self.valid.by_item(row_scores))


@dataclass(frozen=True)
class Fitted:
    """A probe that has been learnt and chosen."""

    choice: dict[str, float | int]
    """Settings chosen on the validation items."""
    validation: float
    """Their score with it."""
    predict: Callable[[Float[np.ndarray, "rows dim"]], Float[np.ndarray, "runs rows classes"]]
    """Scores of rows, in [0, 1], for each run of the probe."""


class Standardizer:
    """Brings every dimension to mean 0 and deviation 1 on the training rows."""

    def __init__(self, vectors: Float[np.ndarray, "rows dim"]) -> None:
        self.mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        deviation = vectors.std(axis=0, dtype=np.float64).astype(np.float32)
        # A dimension that never changes says nothing; dividing would blow its rounding up.
        flat = deviation <= 1e-6 * np.maximum(1.0, np.abs(self.mean))
        self.scale = np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, deviation)).astype(np.float32)

    def __call__(self, vectors: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim"]:
        """Standardize rows."""
        return (vectors - self.mean) * self.scale
