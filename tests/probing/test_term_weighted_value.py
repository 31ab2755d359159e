import numpy as np
import pytest

from audiossl.probing.term_weighted_value import PRICE, Trials, maximum_values, value_at


def test_the_price_is_that_of_the_scoring_script():
    effective_prior = 1 / (1 + PRICE)
    assert effective_prior == pytest.approx(0.0741289, abs=1e-7)


def test_a_worked_example():
    """Of two queries, one in two documents and one in one, and a third that is in none."""
    targets = np.array([[1, 1, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]], bool)
    scores = np.array(
        [[5.0, 3.0, 2.0, 0.0, 0.0], [4.0, 0.0, 0.0, 0.0, 0.0], [9.0, 9.0, 9.0, 9.0, 9.0]]
    )
    trials = Trials(targets, scores)
    # Above 2.5: all three hits, no false alarm; the third query does not count.
    assert value_at(trials, 2.5) == pytest.approx(1.0)
    assert maximum_values(trials)[0] == pytest.approx(1.0)
    # Above 3.5: a hit of two, a hit of one.
    assert value_at(trials, 3.5) == pytest.approx((1 / 2 + 1) / 2)
    # Above 1: one of three other documents of the first query is found.
    assert value_at(trials, 1.0) == pytest.approx((1 - PRICE / 3 + 1) / 2)


def test_what_is_not_searched_counts_as_not_found():
    targets, scores = np.array([[1, 0, 0]], bool), np.array([[1.0, 2.0, 0.0]])
    # The false alarm comes first, and costs less among more documents.
    assert maximum_values(Trials(targets, scores))[0] == 0.0
    many = Trials(targets, scores, unsearched_queries=3, unsearched_documents=100)
    assert value_at(many, 0.5) == pytest.approx((1 - PRICE / 102) / 4)
    assert maximum_values(many)[0] == pytest.approx((1 - PRICE / 102) / 4)


def test_equal_scores_are_accepted_together_and_nothing_is_worth_nothing():
    targets = np.eye(2, dtype=bool)
    assert maximum_values(Trials(targets, np.ones((2, 2))))[0] == 0.0
    assert maximum_values(Trials(targets, 1.0 - targets))[0] == 0.0
    assert np.isnan(maximum_values(Trials(np.zeros((1, 2), bool), np.ones((1, 2))))[0])


def test_weights_are_copies_of_queries():
    generator = np.random.default_rng(0)
    targets, scores = generator.random((6, 40)) < 0.1, generator.random((6, 40))
    scores += 0.4 * targets
    weights = generator.integers(0, 3, (5, 6)).astype(float)
    found = maximum_values(Trials(targets, scores), weights)
    for row, value in zip(weights.astype(int), found, strict=True):
        copied = Trials(targets.repeat(row, axis=0), scores.repeat(row, axis=0))
        assert maximum_values(copied)[0] == pytest.approx(value)
