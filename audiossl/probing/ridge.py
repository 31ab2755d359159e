"""Ridge regression of numbers on standardized embeddings, its regularization chosen on validation.

One singular value decomposition serves the whole path (Hastie, Tibshirani and Friedman 2009, eq.
3.47).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from audiossl.probing.probe import Fitted, Problem, Standardizer


def fit_ridge(costs: Sequence[float], problem: Problem) -> Fitted:
    """Fit the path and keep what validates best, the most regularized if equal.

    Args:
        costs: Values of C, the inverse of the weight of the squared norm beside the sum of squared
            errors.
        problem: Whose targets are numbers.

    Example:
        >>> from audiossl.probing.probe import Examples
        >>> rows = np.float32([[0], [1], [2], [3]])
        >>> examples = Examples(rows, np.arange(4), np.float64([[1], [3], [5], [7]]))
        >>> fitted = fit_ridge([1e6], Problem(examples, examples, "number", "r2"))
        >>> round(float(fitted.predict(np.float32([[10]])).item()), 3)
        21.0
    """
    scaled = Standardizer(problem.train.vectors)
    rows = scaled(problem.train.vectors).astype(np.float64)
    targets = problem.train.row_targets.astype(np.float64)
    mean = targets.mean(axis=0)
    left, sizes, right = np.linalg.svd(rows, full_matrices=False)
    shares = left.T @ (targets - mean)
    path = [right.T @ ((sizes / (sizes**2 + 1 / cost))[:, None] * shares) for cost in sorted(costs)]

    def predict(
        vectors: Float[np.ndarray, "rows dim"], weights: Float[np.ndarray, "dim 1"]
    ) -> Float[np.ndarray, "rows 1"]:
        return (scaled(vectors) @ weights + mean).astype(np.float32)

    scores = [problem.validation(predict(problem.valid.vectors, weights)) for weights in path]
    best = int(np.argmax(scores))
    return Fitted(
        {"C": sorted(costs)[best]}, scores[best], lambda vectors: predict(vectors, path[best])[None]
    )
