import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from audiossl.probing.scores import (
    METRICS,
    accuracy,
    balanced_accuracy,
    chance,
    equal_error_rate,
    plain,
    pr_auc,
    recall_at,
    roc_auc,
)

draws = st.integers(0, 10_000)


def problem(seed, items=40, classes=5, multi=False):
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


@given(draws)
@settings(max_examples=25, deadline=None)
def test_macro_scores_are_those_of_sklearn(seed):
    targets, scores = problem(seed, multi=True)
    assert plain(roc_auc, targets, scores) == pytest.approx(
        metrics.roc_auc_score(targets, scores, average="macro")
    )
    assert plain(pr_auc, targets, scores) == pytest.approx(
        metrics.average_precision_score(targets, scores, average="macro")
    )


@given(draws)
@settings(max_examples=25, deadline=None)
def test_accuracies_are_those_of_sklearn(seed):
    targets, scores = problem(seed)
    labels, guesses = targets.argmax(axis=1), scores.argmax(axis=1)
    assert plain(accuracy, targets, scores) == pytest.approx(
        metrics.accuracy_score(labels, guesses)
    )
    assert plain(balanced_accuracy, targets, scores) == pytest.approx(
        metrics.balanced_accuracy_score(labels, guesses)
    )


@pytest.mark.parametrize("name", METRICS)
@given(draws)
@settings(max_examples=15, deadline=None)
def test_a_weight_is_how_often_an_item_is_there(name, seed):
    targets, scores = problem(seed, items=30, multi=name.endswith("auc"))
    counts = np.random.default_rng(seed).integers(0, 4, size=(3, len(targets)))
    together = METRICS[name](targets, scores, counts.astype(float))
    for value, count in zip(together, counts, strict=True):
        rows = np.repeat(np.arange(len(targets)), count)
        repeated = plain(METRICS[name], targets[rows], scores[rows])
        assert value == pytest.approx(repeated, nan_ok=True)


@pytest.mark.parametrize("name", METRICS)
def test_scores_know_only_the_order_of_what_a_probe_says(name):
    targets, scores = problem(3, multi=name.endswith("auc"))
    metric = METRICS[name]
    assert plain(metric, targets, np.exp(scores)) == pytest.approx(plain(metric, targets, scores))


def test_guessing_scores_what_chance_says():
    generator = np.random.default_rng(99)
    targets, _ = problem(0, items=20_000, multi=True)
    guesses = generator.random(targets.shape).astype(np.float32)
    for name in ("roc_auc", "pr_auc"):
        expected = chance(name, targets)
        assert plain(METRICS[name], targets, guesses) == pytest.approx(expected, abs=0.01)
    single, _ = problem(0, items=19_995)
    for name in ("accuracy", "balanced_accuracy"):
        found = plain(METRICS[name], single, guesses)
        assert found == pytest.approx(chance(name, single), abs=0.01)


def test_classes_without_items_do_not_count_and_nothing_is_no_number():
    targets, scores = problem(1, multi=True)
    empty = np.concatenate([targets, np.zeros((len(targets), 1), bool)], axis=1)
    wider = np.concatenate([scores, scores[:, :1]], axis=1)
    for metric in (roc_auc, pr_auc):
        assert plain(metric, empty, wider) == pytest.approx(plain(metric, targets, scores))
        assert np.isnan(plain(metric, np.zeros_like(targets), scores))


def test_equal_error_rate_lies_where_the_roc_curve_meets_the_diagonal():
    generator = np.random.default_rng(0)
    same = generator.random(500) < 0.4
    scores = (same + generator.normal(size=500)).astype(np.float32)
    alarms, hits, _ = metrics.roc_curve(same, scores, drop_intermediate=False)
    grid = np.linspace(0, 1, 100_001)
    gap = np.interp(grid, alarms, hits) - (1 - grid)
    expected = grid[np.argmin(np.abs(gap))]
    found = equal_error_rate(same, scores, np.ones((1, 500)))[0]
    assert found == pytest.approx(expected, abs=2e-3)
    assert equal_error_rate(same, same.astype(np.float32), np.ones((1, 500)))[0] == 0.0


def test_recall_counts_queries_that_find_something_and_ties_are_no_merit():
    similarity = np.array([[0.9, 0.5, 0.1], [0.2, 0.2, 0.2], [0.3, 0.2, 0.1]], np.float32)
    relevant = np.array([[True, False, False], [False, True, False], [False, False, False]])
    once = np.ones((1, 3))
    assert recall_at(1, relevant, similarity, once)[0] == 0.5
    assert recall_at(3, relevant, similarity, once)[0] == 1.0
