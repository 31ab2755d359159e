"""Eight items a class, ten draws: the classification of MAEB, the audio tasks of MTEB.

Source: `mteb` 2.26, `abstasks/classification.py` and `multilabel_classification.py`. Of several
classes one is predicted by logistic regression with scikit-learn's settings; of any number of them
by the five nearest items. Nothing is chosen, so that validation items are not used.
"""

import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_limits

from audiossl.configs import Count, Whole
from audiossl.probing.probe import Fitted, Problem


@dataclass(frozen=True, kw_only=True)
class FewShotConfig:
    """Logistic regression on a few items of each class, averaged over draws."""

    kind: Literal["few_shot"] = "few_shot"
    shots: Count = 8
    """Number of training items of a class in a draw."""
    draws: Count = 10
    """Number of draws; scores are their mean."""
    max_iterations: Count = 100
    """Maximum number of iterations of a fit."""
    neighbors: Count = 5
    """Number of neighbors that vote, where an item has any number of classes."""
    seed: Whole = 42
    """Random seed of the draws."""


def fit_few_shot(config: FewShotConfig, problem: Problem) -> Fitted:
    """Fit a classifier on each draw.

    Example:
        >>> from audiossl.probing.probe import Examples
        >>> rows = np.float32([[0], [1], [10], [11]])
        >>> examples = Examples(rows, np.arange(4), np.eye(2, dtype=bool)[[0, 0, 1, 1]])
        >>> problem = Problem(examples, examples, "single", "accuracy")
        >>> fit_few_shot(FewShotConfig(shots=1), problem).predict(rows).shape
        (10, 4, 2)
    """
    vectors, targets = problem.train.vectors, problem.train.row_targets
    with threadpool_limits(1), warnings.catch_warnings():
        # A hundred iterations are the protocol, whether they suffice or not.
        warnings.simplefilter("ignore", ConvergenceWarning)
        models = [
            _fitted(config, problem.kind, vectors[rows], targets[rows])
            for rows in draws(config, targets, problem.kind)
        ]

    def predict(rows: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "runs rows classes"]:
        return np.stack([_probabilities(model, rows, targets.shape[1]) for model in models])

    scores = [problem.validation(run) for run in predict(problem.valid.vectors)]
    return Fitted({}, float(np.mean(scores)), predict)


def draws(
    config: FewShotConfig, targets: Bool[np.ndarray, "rows classes"], kind: str
) -> Iterator[Int[np.ndarray, " chosen"]]:
    """Draw training rows as mteb does: an order is gone through until each class has its share.

    With one class an item every order is a shuffle of the one before, with the same random numbers;
    otherwise each is a shuffle of all rows, and an item counts for all of its classes.
    """
    order: np.ndarray = np.arange(len(targets))
    generator = np.random.default_rng(config.seed)
    for _ in range(config.draws):
        if kind == "single":
            np.random.RandomState(config.seed).shuffle(order)
        else:
            order = generator.permutation(len(targets))
        taken: Counter[int] = Counter()
        chosen = []
        for row in order.tolist():
            classes = np.flatnonzero(targets[row]).tolist()
            if any(taken[name] < config.shots for name in classes):
                chosen.append(row)
                taken.update(classes)
        yield np.array(chosen)


def _fitted(
    config: FewShotConfig,
    kind: str,
    vectors: Float[np.ndarray, "rows dim"],
    targets: Bool[np.ndarray, "rows classes"],
) -> Any:
    if kind == "single":
        model = LogisticRegression(max_iter=config.max_iterations, random_state=config.seed)
        return model.fit(vectors, targets.argmax(axis=1))
    count = min(config.neighbors, len(vectors))
    return KNeighborsClassifier(n_neighbors=count).fit(vectors, targets.astype(np.int64))


def _probabilities(
    model: Any, vectors: Float[np.ndarray, "rows dim"], classes: int
) -> Float[np.ndarray, "rows classes"]:
    predicted = model.predict_proba(vectors)
    result = np.zeros((len(vectors), classes), np.float32)
    if isinstance(predicted, list):  # a table for each class: absent and present, or one of the two
        for column, (table, known) in enumerate(zip(predicted, model.classes_, strict=True)):
            result[:, column] = table @ (np.asarray(known) == 1)
    else:
        result[:, model.classes_] = predicted
    return result
