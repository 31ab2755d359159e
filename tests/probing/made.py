"""Predictions and tasks made up for tests."""

from collections.abc import Sequence

import numpy as np

from audiossl.probing.predictions import Predictions, TaskFacts
from audiossl.probing.tasks import Task, TaskConfig, build_task


def predictions(
    right: np.ndarray, groups: Sequence[object] | None = None, *, encoder: str = "one"
) -> Predictions:
    """Predictions of two classes that are right where `right` (runs, items) says so."""
    runs = np.atleast_2d(right)
    items = runs.shape[1]
    targets = np.eye(2, dtype=bool)[np.arange(items) % 2]
    return Predictions(
        task=TaskFacts("made", "single", "accuracy", False),
        encoder=encoder,
        probe="linear",
        classes=("even", "odd"),
        ids=tuple(f"cut{item}" for item in range(items)),
        groups=np.array(groups if groups is not None else np.arange(items)),
        targets=targets,
        runs=np.where(runs[..., None], targets, ~targets).astype(np.float32),
    )


def labels(num_items: int = 60, classes: int = 3) -> list[dict[str, str]]:
    """Labels of cuts in three splits, a class after the other."""
    splits = ("train", "train", "valid", "test")
    return [
        {
            "id": f"cut{item}",
            "animal": f"animal{item % classes}",
            "split": splits[item // classes % 4],
            "recording": f"recording{item}",
        }
        for item in range(num_items)
    ]


def task(num_items: int = 60, classes: int = 3, **settings: object) -> Task:
    """Build a task over `labels`."""
    config = TaskConfig(name="animals", label="animal", **settings)  # type: ignore[arg-type]
    return build_task(config, labels(num_items, classes))


def embeddings_of(targets: np.ndarray, dim: int = 8, noise: float = 1.0) -> np.ndarray:
    """Vectors in which classes are clouds."""
    generator = np.random.default_rng(0)
    centers = generator.normal(size=(targets.shape[1], dim))
    rows = targets @ centers + noise * generator.normal(size=(len(targets), dim))
    return rows.astype(np.float32)
