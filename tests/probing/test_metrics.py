import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from audiossl.errors import UserError
from audiossl.probing.bootstrap import BootstrapConfig
from audiossl.probing.embeddings import Embeddings
from audiossl.probing.linear import LinearConfig
from audiossl.probing.measure import chance_scores, intervals, measure, metrics_of
from audiossl.probing.metrics import (
    METRICS,
    Metric,
    metric_label,
    plain,
)
from audiossl.probing.tasks import TaskConfig
from tests.probing.made import embeddings_of, task

draws = st.integers(0, 10_000)


def problem(seed, items=40, classes=5, *, multi=False):
    """Targets of which every class has some, and scores on a grid, so that some are equal."""
    generator = np.random.default_rng(seed)
    if multi:
        targets = generator.random((items, classes)) < 0.3
        targets[:classes] |= np.eye(classes, dtype=bool)
        targets[classes : 2 * classes] &= ~np.eye(classes, dtype=bool)
    else:
        labels = np.concatenate([np.arange(classes), generator.integers(classes, size=items)])
        targets = np.eye(classes, dtype=bool)[labels]
    noise = generator.normal(size=targets.shape)
    return targets, np.round(targets + noise, 1).astype(np.float32)


CLASSES = {
    "chroma_accuracy": ("60", "62", "64", "72", "74"),
    "key_score": ("C major", "G major", "A minor", "C minor", "F# minor"),
}


OF_CLASSES = [name for name, metric in METRICS.items() if {"single", "multi"} & {*metric.kinds}]


def problem_for(name, seed, items=40):
    """A problem that a metric is defined on: verification tells two classes apart."""
    generator = np.random.default_rng(seed)
    if METRICS[name].kinds == ("number",):
        return generator.normal(size=(items, 1)), generator.normal(size=(items, 1))
    if METRICS[name].kinds == ("events",):
        counts = generator.integers(5, size=(items, 16)).astype(np.float32)
        return counts, counts
    classes = 2 if name.startswith("neg_") else 5
    return problem(seed, items, classes, multi="multi" in METRICS[name].kinds)


@given(draws)
@settings(max_examples=25, deadline=None)
def test_macro_scores_are_those_of_sklearn(seed):
    targets, scores = problem(seed, multi=True)
    assert plain(METRICS["roc_auc"], targets, scores) == pytest.approx(
        metrics.roc_auc_score(targets, scores, average="macro")
    )
    assert plain(METRICS["pr_auc"], targets, scores) == pytest.approx(
        metrics.average_precision_score(targets, scores, average="macro")
    )


@given(draws)
@settings(max_examples=25, deadline=None)
def test_accuracies_are_those_of_sklearn(seed):
    targets, scores = problem(seed)
    labels, guesses = targets.argmax(axis=1), scores.argmax(axis=1)
    assert plain(METRICS["accuracy"], targets, scores) == pytest.approx(
        metrics.accuracy_score(labels, guesses)
    )
    assert plain(METRICS["balanced_accuracy"], targets, scores) == pytest.approx(
        metrics.balanced_accuracy_score(labels, guesses)
    )


@pytest.mark.parametrize("name", METRICS)
@given(draws)
@settings(max_examples=15, deadline=None)
def test_a_weight_is_how_often_an_item_is_there(name, seed):
    targets, scores = problem_for(name, seed, items=30)
    counts = np.random.default_rng(seed).integers(0, 4, size=(3, len(targets)))
    together = METRICS[name].function(targets, scores, counts.astype(float))
    for value, count in zip(together, counts, strict=True):
        rows = np.repeat(np.arange(len(targets)), count)
        repeated = plain(METRICS[name], targets[rows], scores[rows])
        assert value == pytest.approx(repeated, nan_ok=True)


@pytest.mark.parametrize("name", OF_CLASSES)
def test_scores_know_only_the_order_of_what_a_probe_says(name):
    targets, scores = problem_for(name, 3)
    metric = METRICS[name]
    assert plain(metric, targets, np.exp(scores)) == pytest.approx(plain(metric, targets, scores))


@pytest.mark.parametrize("name", OF_CLASSES)
def test_guessing_scores_what_chance_says(name):
    metric = METRICS[name]
    targets, _ = problem_for(name, 0, items=19_995)
    metric = metric.over(CLASSES.get(name, ()))
    guesses = np.random.default_rng(99).random(targets.shape).astype(np.float32)
    assert plain(metric, targets, guesses) == pytest.approx(metric.chance(targets), abs=0.02)


def test_classes_without_items_do_not_count_and_nothing_is_no_number():
    targets, scores = problem(1, multi=True)
    empty = np.concatenate([targets, np.zeros((len(targets), 1), bool)], axis=1)
    wider = np.concatenate([scores, scores[:, :1]], axis=1)
    for metric in (METRICS["roc_auc"], METRICS["pr_auc"]):
        assert plain(metric, empty, wider) == pytest.approx(plain(metric, targets, scores))
        assert np.isnan(plain(metric, np.zeros_like(targets), scores))


def test_d_prime_is_the_distance_of_two_normal_distributions():
    generator = np.random.default_rng(0)
    targets = generator.random((100_000, 1)) < 0.5
    scores = (1.5 * targets + generator.normal(size=targets.shape)).astype(np.float32)
    assert plain(METRICS["d_prime"], targets, scores) == pytest.approx(1.5, abs=0.03)


RIGHT_OR_SECOND = Metric(
    label="top-2 accuracy",
    function=lambda targets, scores, weights: (
        weights
        @ (targets & (scores.argsort(axis=1).argsort(axis=1) >= scores.shape[1] - 2)).any(1)
        / weights.sum(axis=1)
    ),
    chance=lambda targets: 2 / targets.shape[1],
    kinds=("single",),
)


def test_a_metric_of_ones_own_scores_a_task_from_end_to_end():
    name = f"python:{__name__}:RIGHT_OR_SECOND"
    made = task(240, classes=4, metric=name)
    vectors = embeddings_of(made.targets, noise=2.0)
    embeddings = Embeddings({"clip": vectors}, np.arange(len(vectors) + 1))
    found = measure(made, embeddings, LinearConfig(costs=(1.0,)), encoder="mine")
    assert chance_scores(made) == {name: 0.5, "accuracy": 0.25, "balanced_accuracy": 0.25}
    figures = intervals(found.predictions, metrics_of(made), BootstrapConfig(replicates=50))
    assert figures[name].value > figures["accuracy"].value > 0.4
    assert metric_label(name) == "top-2 accuracy"
    with pytest.raises(UserError, match="needs one class an item, but its kind is multi"):
        TaskConfig(name="tags", label="tags", kind="multi", metric=name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ccuracy", "unknown metric 'ccuracy'; did you mean 'accuracy'"),
        ("python:math:pi", "is no audiossl.probing.metrics.Metric, but 3.14"),
        ("python:math:three", "math has no 'three'"),
    ],
)
def test_what_is_no_metric_is_refused(name, message):
    with pytest.raises(UserError, match=message):
        TaskConfig(name="animals", label="animal", metric=name)
