"""Mixtures: shares of corpora, fairness within them, and batches whatever the corpora."""

import collections

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiossl.data.mixture import MixturePlan
from audiossl.data.plan import PlanConfig, Position
from audiossl.errors import UserError

RATE = 100


def _plan(sizes, weights, *, seed=0, **settings):
    lengths = [np.random.default_rng(i).integers(50, 3000, size) for i, size in enumerate(sizes)]
    config = PlanConfig(seed=seed, **{"batch_duration": 60.0, "num_buckets": 4, **settings})
    return MixturePlan(lengths, weights, RATE, config)


def _drawn(plan, epoch):
    return plan.draw(epoch, np.random.default_rng(epoch))


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.floats(0.01, 100)), min_size=1, max_size=4),
    st.integers(0, 50),
)
def test_shares_are_those_of_the_weights_to_the_nearest_cut(corpora, epoch):
    sizes, weights = zip(*corpora, strict=True)
    plan = _plan(sizes, weights)
    shares = np.array(weights) / sum(weights) * sum(sizes)
    total = sum(plan.counts(number) for number in range(epoch + 1))
    np.testing.assert_allclose(total, shares * (epoch + 1), atol=0.51)
    drawn = _drawn(plan, epoch)
    corpus = np.searchsorted(plan.firsts, drawn, side="right") - 1
    np.testing.assert_array_equal(np.bincount(corpus, minlength=len(sizes)), plan.counts(epoch))


def test_no_cut_comes_twice_before_all_others_came_once():
    plan = _plan([7, 50], [1.0, 3.0])
    seen = collections.Counter()
    for epoch in range(9):
        seen.update(_drawn(plan, epoch).tolist())
        for first, size in ((0, 7), (7, 50)):
            counts = [seen[number] for number in range(first, first + size)]
            assert max(counts) - min(counts) <= 1


def test_with_weights_like_the_sizes_an_epoch_has_every_cut_once():
    plan = _plan([7, 50, 1], [7.0, 50.0, 1.0])
    for epoch in range(3):
        assert sorted(_drawn(plan, epoch)) == list(range(58))
    assert _drawn(plan, 0).tolist() != _drawn(plan, 1).tolist()


def test_a_batch_is_a_function_of_seed_epoch_and_number():
    first, second = _plan([30, 40], [1.0, 2.0]), _plan([30, 40], [1.0, 2.0])
    second.epoch(0)
    np.testing.assert_array_equal(first.epoch(5).order, second.epoch(5).order)
    other = _plan([30, 40], [1.0, 2.0], seed=1).epoch(5)
    assert first.epoch(5).order.tolist()[:20] != other.order.tolist()[:20]


def test_every_batch_is_of_one_bucket_and_within_the_duration():
    plan = _plan([30, 400], [1.0, 0.2])
    batches = plan.epoch(3)
    for number in range(len(batches)):
        cuts, padded = batches.cuts(number), plan.padded[batches.buckets[number]]
        assert set(plan.bucket_of[cuts]) == {batches.buckets[number]}
        assert len(cuts) * padded <= 60 * RATE


def test_one_cut_makes_batches():
    plan = MixturePlan([np.array([250])], [1.0], RATE, PlanConfig(batch_duration=10.0))
    assert plan.epoch(0).cuts(0).tolist() == [0, 0, 0, 0]
    assert plan.next(Position(0, 0)) == Position(1, 0)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_weights_out_of_range_are_refused(weight):
    with pytest.raises(UserError, match="weights of corpora must be above 0"):
        _plan([3, 4], [1.0, weight])
