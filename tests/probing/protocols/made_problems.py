"""Problems made up for tests of protocols."""

import numpy as np

from audiossl.probing.probe import Examples, Problem
from tests.probing.made import embeddings_of


def clouds(kind="single", *, noise=1.0, classes=3, train=90, valid=40, dim=8):
    """Clouds of vectors, a class each."""
    generator = np.random.default_rng(0)
    targets = np.eye(classes, dtype=bool)[generator.integers(classes, size=train + valid)]
    if kind == "multi":
        targets |= generator.random(targets.shape) < 0.2
    vectors = embeddings_of(targets, noise=noise, dim=dim)
    parts = [
        Examples(vectors[rows], np.arange(len(targets[rows])), targets[rows])
        for rows in (slice(train), slice(train, None))
    ]
    return Problem(*parts, kind, "accuracy" if kind == "single" else "pr_auc")
