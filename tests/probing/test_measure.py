from dataclasses import replace

import numpy as np
import pytest

from audiossl.errors import UserError
from audiossl.probing.bootstrap import BootstrapConfig
from audiossl.probing.embeddings import Embeddings
from audiossl.probing.linear import LinearConfig
from audiossl.probing.measure import chance_scores, intervals, majority, measure, metrics_of
from audiossl.probing.mlp import MlpConfig
from audiossl.probing.neighbors import NeighborsConfig
from tests.probing.made import embeddings_of, task

PROBES = [
    LinearConfig(costs=(0.01, 1.0)),
    NeighborsConfig(),
    MlpConfig(hidden=8, seeds=2, max_epochs=3),
]


def embedded(found, *, windows=1, **more):
    vectors = embeddings_of(np.repeat(found.targets, windows, axis=0), noise=2.0)
    rows = np.arange(len(found.cuts) + 1) * windows
    return Embeddings({"clip": vectors, **more}, rows)


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.kind)
def test_nothing_of_the_test_items_reaches_what_is_learnt_or_chosen(probe):
    found = task(120)
    one = embedded(found, other=embeddings_of(found.targets, noise=4.0))
    clean = measure(found, one, probe, encoder="one")
    test = found.rows("test")
    spoilt = {name: vectors.copy() for name, vectors in one.vectors.items()}
    targets = found.targets.copy()
    for vectors in spoilt.values():
        vectors[test] = 1e6
    targets[test] = np.roll(targets[test], 1, axis=1)
    other = measure(
        replace(found, targets=targets), Embeddings(spoilt, one.starts), probe, encoder="one"
    )
    assert other.choice == clean.choice
    assert other.validation == clean.validation
    # And what is learnt is the same, too: test items with their own vectors get the same scores.
    again = measure(replace(found, targets=targets), one, probe, encoder="one")
    np.testing.assert_array_equal(again.predictions.runs, clean.predictions.runs)


@pytest.mark.parametrize("aggregate", ["embeddings", "scores"])
def test_windows_of_a_cut_become_one_prediction(aggregate):
    found = task(60)
    measured = measure(
        found, embedded(found, windows=4), PROBES[0], encoder="one", aggregate=aggregate
    )
    assert measured.predictions.runs.shape == (1, len(found.rows("test")), 3)


def test_averaging_scores_of_equal_windows_is_the_score_of_one():
    found = task(60)
    single = embedded(found)
    doubled = Embeddings({"clip": np.repeat(single.vectors["clip"], 2, axis=0)}, 2 * single.starts)
    runs = [
        measure(found, each, NeighborsConfig(counts=(1,)), encoder="one", aggregate="scores")
        for each in (single, doubled)
    ]
    np.testing.assert_allclose(runs[0].predictions.runs, runs[1].predictions.runs)


def test_the_embedding_that_validates_best_is_tested():
    found = task(120)
    noise = np.random.default_rng(5).normal(size=(120, 4)).astype(np.float32)
    one = Embeddings({"noise": noise, "clip": embedded(found).vectors["clip"]}, np.arange(121))
    measured = measure(found, one, PROBES[0], encoder="one")
    assert measured.choice["embedding"] == "clip"
    assert measured.validation["clip"] > measured.validation["noise"]


def test_the_most_frequent_class_scores_chance_where_classes_are_balanced():
    found = task(60, metric="balanced_accuracy")
    scores = intervals(majority(found), metrics_of(found), BootstrapConfig(replicates=50))
    assert scores["balanced_accuracy"].score == pytest.approx(1 / 3)
    assert chance_scores(found)["balanced_accuracy"] == pytest.approx(1 / 3)


def test_a_metric_that_a_split_cannot_be_scored_by_is_refused():
    made = task(60, metric="roc_auc")
    splits = made.splits.copy()
    splits[(splits == "test") & ~made.targets[:, 0]] = "none"
    with pytest.raises(UserError, match=r"roc_auc is not defined on test, .* have only animal0"):
        measure(replace(made, splits=splits), embedded(made), PROBES[0], encoder="one")
