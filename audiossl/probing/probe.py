"""What probes have in common: rows of embeddings, the items they are of, and a choice on some."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from audiossl.audio.presentation import mean_of_windows
from audiossl.probing.metrics import Targets, TaskKind, metric_of, plain


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
    targets: Targets
    groups: Shaped[np.ndarray, " items"] | None = None
    """Group of each item, which folds keep together; None: each its own."""

    @property
    def row_targets(self) -> Shaped[np.ndarray, "rows classes"]:
        """Classes, or number, of the item that each row is of."""
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
        return Examples(self.by_item(self.vectors), everything, self.targets, self.groups)

    def chosen(self, kept: Bool[np.ndarray, " items"]) -> "Examples":
        """Take some of the items, with all of their rows."""
        rows = kept[self.items]
        number = np.cumsum(kept) - 1
        groups = None if self.groups is None else self.groups[kept]
        return Examples(self.vectors[rows], number[self.items[rows]], self.targets[kept], groups)

    def followed_by(self, others: "Examples") -> "Examples":
        """Put other items behind these."""
        return Examples(
            np.concatenate([self.vectors, others.vectors]),
            np.concatenate([self.items, others.items + len(self.targets)]),
            np.concatenate([self.targets, others.targets]),
            None
            if self.groups is None or others.groups is None
            else np.concatenate([self.groups, others.groups]),
        )

    def folds(self, count: int, seed: int = 0) -> Int[np.ndarray, " items"]:
        """Deal groups into folds by chance, each to the fold that holds the fewest items so far."""
        own = np.arange(len(self.targets)) if self.groups is None else self.groups
        _, group_of, sizes = np.unique(own, return_inverse=True, return_counts=True)
        fold_of, held = np.zeros(len(sizes), np.int64), np.zeros(count, np.int64)
        for group in np.random.default_rng(seed).permutation(len(sizes)):
            fold_of[group] = held.argmin()
            held[held.argmin()] += sizes[group]
        return fold_of[group_of]


@dataclass(frozen=True)
class Problem:
    """Training examples of a probe, and validation examples that select its settings."""

    train: Examples
    valid: Examples
    kind: TaskKind
    metric: str
    classes: tuple[str, ...] = ()
    """Names of the classes, for metrics that depend on them."""

    def validation(self, row_scores: Float[np.ndarray, "rows classes"]) -> float:
        """Score what a probe says of the validation rows, averaged over each item's windows."""
        metric = metric_of(self.metric).over(self.classes)
        return plain(metric, self.valid.targets, self.valid.by_item(row_scores))


@dataclass(frozen=True)
class Fitted:
    """A probe that has been learnt and chosen."""

    choice: Mapping[str, float | int | str]
    """Settings chosen on the validation items."""
    validation: float
    """Their score with it."""
    predict: Callable[[Float[np.ndarray, "rows dim"]], Float[np.ndarray, "runs rows classes"]]
    """Scores of rows for each run of the probe: in [0, 1], or numbers."""


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
