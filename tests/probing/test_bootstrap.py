import numpy as np
import pytest

from audiossl.probing import bootstrap
from audiossl.probing.bootstrap import BootstrapConfig, group_weights, interval, run_weights
from audiossl.probing.metrics import METRICS
from tests.probing.made import predictions


def coverage(make, truth, trials=150):
    """Share of intervals that hold the true score."""
    config = BootstrapConfig(replicates=200)
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(trials):
        found = interval(METRICS["accuracy"], make(generator), config)
        hits += found.low <= truth <= found.high
    return hits / trials


def test_intervals_hold_the_truth_as_often_as_they_say():
    def items(generator):
        return predictions(generator.random(150) < 0.7)

    assert 0.91 <= coverage(items, 0.7) <= 0.98


def test_items_of_one_recording_are_one_draw():
    groups = np.repeat(np.arange(30), 10)

    def clips(generator):
        return np.repeat(generator.random(30) < 0.7, 10)

    grouped = coverage(lambda generator: predictions(clips(generator), groups), 0.7)
    alone = coverage(lambda generator: predictions(clips(generator)), 0.7)
    assert grouped > 0.88
    assert alone < 0.6, "clips counted as independent claim too much"


def test_luck_of_seeds_is_in_the_interval():
    def seeds(generator):
        skills = 0.7 + 0.1 * generator.normal(size=(5, 1))
        return generator.random((5, 100)) < skills

    drawn = coverage(lambda generator: predictions(seeds(generator)), 0.7)

    def averaged(generator):
        # One run of all items of all seeds: what forgetting about seeds comes to.
        right = seeds(generator)
        return predictions(right.reshape(1, -1))

    forgotten = coverage(averaged, 0.7)
    assert drawn > 0.75
    assert forgotten < drawn - 0.2


def test_replicates_do_not_depend_on_how_many_are_held_at_once(monkeypatch):
    found = predictions(np.random.default_rng(0).random((2, 50)) < 0.6, np.arange(50) // 3)
    whole = bootstrap.replicates(METRICS["accuracy"], found, BootstrapConfig(replicates=40))
    monkeypatch.setattr(bootstrap, "_HELD", 150)
    parts = bootstrap.replicates(METRICS["accuracy"], found, BootstrapConfig(replicates=40))
    np.testing.assert_allclose(whole, parts)


def test_groups_are_drawn_whole_and_within_their_strata():
    groups = np.array(["a", "a", "b", "c", "c", "c", "d"])
    strata = np.array([0, 0, 0, 1, 1, 1, 1])
    (weights,) = group_weights(groups, BootstrapConfig(replicates=50), strata)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 3] == weights[:, 5]).all()
    assert (weights[:, 0] + weights[:, 2] == 2).all(), "two groups in the first stratum"
    assert (weights[:, 3] + weights[:, 6] == 2).all()


def test_weights_of_runs_are_shares():
    weights = run_weights(4, BootstrapConfig(replicates=200))
    assert weights.shape == (4, 200)
    np.testing.assert_allclose(weights.sum(axis=0), 1)
    assert weights.mean() == pytest.approx(0.25)
    assert (run_weights(1, BootstrapConfig(replicates=5)) == 1).all()


def test_a_score_that_is_not_defined_has_no_interval():
    low, high = bootstrap.percentiles(np.full(10, np.nan), BootstrapConfig())
    assert np.isnan(low)
    assert np.isnan(high)
