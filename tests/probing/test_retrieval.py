import numpy as np
import pytest

from audiossl.probing.bootstrap import BootstrapConfig
from audiossl.probing.retrieval import (
    _medians,
    fused,
    joined,
    median_rank,
    normalized_ranks,
    rank_queries,
    recall,
    recall_difference,
)

CONFIG = BootstrapConfig(replicates=200)


def _random(queries: int, concepts: int, seed: int = 0):
    generator = np.random.default_rng(seed)
    named = generator.integers(concepts, size=queries)
    return generator.standard_normal((queries, queries)), named[:, None] == named, named


def test_ranks_count_wrong_candidates_only():
    similarity = np.array([[3.0, 2.0, 1.0], [9.0, 2.0, 5.0], [3.0, 2.0, 1.0]])
    relevant = np.array([[True, True, False], [True, True, False], [False, False, True]])
    assert rank_queries(similarity, relevant, np.arange(3)).ranks.tolist() == [1, 1, 3]
    similarity[1, 1] = -9  # a duplicate partner that is far away changes nothing
    assert rank_queries(similarity, relevant, np.arange(3)).ranks.tolist() == [1, 1, 3]


def test_ties_are_no_merit_and_nan_is_no_success():
    for value in (0.0, np.nan):
        found = rank_queries(np.full((4, 4), value), np.eye(4).astype(bool), np.arange(4))
        assert found.ranks.tolist() == [4] * 4


def test_chance_is_what_a_random_order_gives():
    similarity, relevant, groups = _random(300, 40)
    found = rank_queries(similarity, relevant, groups)
    for k in (1, 5, 10):
        score = recall([found], k, CONFIG)
        assert score.low - 0.03 < found.chance(k) < score.high + 0.03
    alone = rank_queries(similarity, np.eye(300).astype(bool), groups)
    assert alone.chance(10) == pytest.approx(10 / 300)


def test_a_hard_pool_leaves_others_out_and_queries_without_a_choice_too():
    similarity = np.array([[1.0, 5.0, 2.0], [0.0, 3.0, 1.0], [0.0, 0.0, 1.0]])
    same = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]]).astype(bool)
    found = rank_queries(similarity, np.eye(3).astype(bool), np.arange(3), same)
    assert found.ranks.tolist() == [2, 1]
    assert found.candidates.tolist() == [2, 2]
    assert found.groups.tolist() == [0, 2]


def test_intervals_hold_the_score():
    similarity, relevant, _ = _random(200, 200)
    ranks = rank_queries(similarity + 2 * relevant, relevant, np.arange(200) // 4)
    score, median = recall([ranks], 10, CONFIG), median_rank([ranks], CONFIG)
    assert score.low < score.score < score.high
    assert median.low <= median.score <= median.high
    assert median.score == np.median(ranks.ranks)


def test_a_difference_to_itself_is_nothing_and_draws_are_put_together():
    found = rank_queries(*_random(50, 10))
    same = recall_difference([found], [found], 10, CONFIG)
    assert (same.score, same.low, same.high) == (0.0, 0.0, 0.0)
    assert len(joined([found, found]).ranks) == 2 * len(found.ranks)


def test_of_several_seeds_the_mean_counts_and_their_spread_is_in_the_interval():
    similarity, relevant, groups = _random(200, 200)
    good = rank_queries(similarity + 9 * relevant, relevant, groups)
    bad = rank_queries(similarity - 9 * relevant, relevant, groups)
    alike = recall([good, good], 10, CONFIG)
    assert (alike.score, alike.low, alike.high) == (1.0, 1.0, 1.0)
    spread = recall([good, bad], 10, CONFIG)
    assert (spread.score, spread.low, spread.high) == (0.5, 0.0, 1.0)
    same = recall_difference([good, bad], [good, bad], 10, CONFIG)
    assert (same.score, same.low, same.high) == (0.0, 0.0, 0.0), "seeds are drawn together"
    assert median_rank([good, bad], CONFIG).score == (1 + np.median(bad.ranks)) / 2


def test_fused_ranks_have_no_scale_and_ties_no_order():
    similarity, other = np.random.default_rng(0).standard_normal((2, 5, 40))
    assert (fused(similarity, other, 0.0).argsort() == similarity.argsort()).all()
    np.testing.assert_array_equal(
        fused(similarity, other, 0.5), fused(1e3 * similarity - 7, np.exp(other), 0.5)
    )
    assert (fused(similarity, np.zeros_like(other), 2.0).argsort() == similarity.argsort()).all()
    assert normalized_ranks(np.array([[3.0, 1.0, 1.0, 2.0]])).tolist() == [[1, 0.375, 0.375, 0.75]]


def test_a_similarity_that_is_no_number_is_no_success_when_fused():
    similarity = np.full((4, 4), np.nan)
    found = rank_queries(
        fused(similarity, np.eye(4), 1.0), np.eye(4).astype(bool), np.arange(4)
    )  # fmt: skip
    assert found.ranks.tolist() == [4] * 4


def test_the_median_of_a_replicate_is_that_of_its_queries_however_often_they_were_drawn():
    generator = np.random.default_rng(0)
    ranks = generator.integers(1, 50, size=20)
    weights = generator.integers(0, 4, size=(30, 20)).astype(np.float64)
    wanted = [np.median(np.repeat(ranks, row.astype(int))) for row in weights]
    np.testing.assert_array_equal(_medians(ranks, weights), wanted)
    # All alike, a system has no interval but its score: the middle of two ranks.
    once = np.array([1, 2, 5, 9])
    assert _medians(once, np.ones((1, 4))).tolist() == [3.5]
