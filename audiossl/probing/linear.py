"""Linear probe: logistic regression on standardized embeddings, its C chosen on held-out items.

One of several classes is a multinomial regression; any number of them is one regression a class.
The path from the strongest regularization to the weakest is walked in order, each fit beginning
where the last one ended. Where validation items are few (a hundred, of twenty classes) their best C
is mostly luck: below `folds_below` of them every item of training and validation is scored once, by
a probe that has not seen its group.
"""

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from audiossl.configs import Whole
from audiossl.probing.metrics import metric_of, plain
from audiossl.probing.probe import Examples, Fitted, Problem, Standardizer
from audiossl.probing.ridge import fit_ridge

_MANY = 2**27
"""Products an evaluation of the loss takes, from which on more than one thread is worth it."""
FOLDS = 5
_SURE = 100.0
"""Logit of what a fit has seen nothing else than."""


@dataclass(frozen=True, kw_only=True)
class LinearConfig:
    """Logistic regression, or ridge regression of numbers, with L2 regularization."""

    kind: Literal["linear"] = "linear"
    costs: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
    """Values of C to choose from: the weight of the sum of losses against half the squared norm."""
    class_weight: Literal["none", "balanced"] = "none"
    """Class weights in the loss. balanced: every class has the same, however many items it has."""
    max_iterations: int = 500
    """Maximum number of iterations of each fit."""
    folds_below: Whole = 0
    """Number of validation items below which C is chosen by five folds of whole groups over the
    items of training and validation, all of which the probe is then fitted on."""


@dataclass(frozen=True)
class _Weights:
    """A linear map to logits."""

    matrix: Float[np.ndarray, "dim classes"]
    bias: Float[np.ndarray, " classes"]

    def probabilities(
        self, vectors: Float[np.ndarray, "rows dim"], kind: str
    ) -> Float[np.ndarray, "rows classes"]:
        logits = vectors @ self.matrix + self.bias
        if kind == "multi":
            return 0.5 * (1 + np.tanh(logits / 2))  # the logistic function, without overflow
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True)


def fit_linear(config: LinearConfig, problem: Problem) -> Fitted:
    """Fit the path of C and keep the one with the best validation score, the smallest if equal.

    Example:
        >>> from audiossl.probing.probe import Examples
        >>> rows = np.float32([[0], [1], [10], [11]])
        >>> examples = Examples(rows, np.arange(4), np.eye(2, dtype=bool)[[0, 0, 1, 1]])
        >>> problem = Problem(examples, examples, "single", "accuracy")
        >>> fit_linear(LinearConfig(costs=(1.0,)), problem).predict(np.float32([[9]])).argmax()
        np.int64(1)
    """
    if problem.kind == "number":
        return fit_ridge(config.costs, problem)
    # Frames are scored by the events of their clips, which folds of frames would tear apart.
    by_items = "events" not in metric_of(problem.metric).kinds
    if by_items and len(problem.valid.targets) < config.folds_below:
        return _fit_by_folds(config, problem)
    scaled, path = _fit_path(config, problem.train, problem.kind)
    valid = scaled(problem.valid.vectors)
    scores = [problem.validation(weights.probabilities(valid, problem.kind)) for weights in path]
    return _fitted(config, problem.kind, scores, scaled, path)


def _fit_by_folds(config: LinearConfig, problem: Problem) -> Fitted:
    """Choose C by what probes of the other folds say of each item."""
    items = problem.train.followed_by(problem.valid)
    folds = items.folds(FOLDS)
    predicted = np.zeros((len(config.costs), *items.targets.shape), np.float32)
    for fold in range(FOLDS):
        held_out = items.chosen(folds == fold)
        scaled, path = _fit_path(config, items.chosen(folds != fold), problem.kind)
        rows = scaled(held_out.vectors)
        for one, weights in zip(predicted, path, strict=True):
            one[folds == fold] = held_out.by_item(weights.probabilities(rows, problem.kind))
    metric = metric_of(problem.metric).over(problem.classes)
    scores = [plain(metric, items.targets, one) for one in predicted]
    return _fitted(config, problem.kind, scores, *_fit_path(config, items, problem.kind))


def _fit_path(
    config: LinearConfig, examples: Examples, kind: str
) -> tuple[Standardizer, list[_Weights]]:
    """Fit every C on standardized rows."""
    scaled = Standardizer(examples.vectors)
    rows, targets = scaled(examples.vectors), examples.row_targets
    size = rows.size * targets.shape[1]
    # BLAS threads wait for each other in spin loops, which on small products costs more than it
    # brings, and on a shared machine a hundred times more.
    with threadpool_limits(None if size > _MANY else 1), warnings.catch_warnings():
        # A fit that stops early is a probe like any other: whether it is good is seen on valid.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return scaled, _path(rows, targets, config, kind)


def _fitted(
    config: LinearConfig,
    kind: str,
    scores: list[float],
    scaled: Standardizer,
    path: list[_Weights],
) -> Fitted:
    """Keep the C with the best score."""
    best = int(np.argmax(scores))
    weights = path[best]

    def predict(vectors: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "runs rows classes"]:
        return weights.probabilities(scaled(vectors), kind)[None]

    return Fitted({"C": sorted(config.costs)[best]}, scores[best], predict)


def _path(
    vectors: Float[np.ndarray, "rows dim"],
    targets: Bool[np.ndarray, "rows classes"],
    config: LinearConfig,
    kind: str,
) -> list[_Weights]:
    """Fit every C, in ascending order."""
    if kind == "single":
        classes, labels = np.unique(targets.argmax(axis=1), return_inverse=True)
        models = _walk(vectors, labels, config)
        return [_among(_multinomial(*model), classes, targets.shape[1]) for model in models]
    paths = [_walk(vectors, targets[:, column], config) for column in range(targets.shape[1])]
    return [
        _Weights(
            np.concatenate([path[step][0] for path in paths]).T,
            np.concatenate([path[step][1] for path in paths]),
        )
        for step in range(len(config.costs))
    ]


def _walk(
    vectors: Float[np.ndarray, "rows dim"], labels: np.ndarray, config: LinearConfig
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Give coefficients and intercepts for every C."""
    if labels.min() == labels.max():
        # A fold may be without a class, or without anything else.
        only = (np.zeros((1, vectors.shape[1])), np.array([-_SURE if labels[0] == 0 else _SURE]))
        return [only] * len(config.costs)
    model = LogisticRegression(
        class_weight=None if config.class_weight == "none" else config.class_weight,
        max_iter=config.max_iterations,
        warm_start=True,
    )
    fitted = []
    for cost in sorted(config.costs):
        model.set_params(C=cost).fit(vectors, labels)
        fitted.append((model.coef_.copy(), model.intercept_.copy()))
    return fitted


def _multinomial(coefficients: np.ndarray, intercepts: np.ndarray) -> _Weights:
    if len(coefficients) == 1:  # two classes: the logit of the second against the first
        coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
        intercepts = np.concatenate([np.zeros_like(intercepts), intercepts])
    return _Weights(coefficients.T, intercepts)


def _among(weights: _Weights, classes: Int[np.ndarray, " present"], count: int) -> _Weights:
    """Put weights of the classes that a fit has seen among all; the others are never predicted."""
    if len(classes) == count:
        return weights
    matrix = np.zeros((len(weights.matrix), count))
    bias = np.full(count, -_SURE)
    seen = len(classes)
    matrix[:, classes], bias[classes] = weights.matrix[:, :seen], weights.bias[:seen]
    return _Weights(matrix, bias)
