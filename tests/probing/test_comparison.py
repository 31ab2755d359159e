import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, friedmanchisquare

from audiossl.errors import UserError
from audiossl.probing.bootstrap import BootstrapConfig
from audiossl.probing.comparison import (
    compare,
    grouped_mcnemar,
    holm,
    rank_systems,
)
from tests.probing.made import predictions

FEW = BootstrapConfig(replicates=400)


def test_a_system_is_no_better_than_itself():
    one = predictions(np.random.default_rng(0).random((3, 80)) < 0.6)
    found = compare(one, one, FEW)
    assert (found.difference.score, found.difference.low, found.difference.high) == (0, 0, 0)
    assert found.probability == 0.5
    assert found.p_bootstrap == 1.0


def test_pairing_sees_what_two_intervals_hide():
    generator = np.random.default_rng(1)
    reference = generator.random(200) < 0.6
    better = reference | (generator.random(200) < 0.08)
    found = compare(predictions(better), predictions(reference), FEW)
    assert found.difference.low > 0
    assert found.p_mcnemar is not None
    assert found.p_mcnemar < 0.01
    reverse = compare(predictions(reference), predictions(better), FEW)
    assert reverse.difference.low == pytest.approx(-found.difference.high)
    assert reverse.probability == pytest.approx(1 - found.probability)


def test_equal_systems_are_called_different_as_rarely_as_promised():
    generator = np.random.default_rng(2)
    config = BootstrapConfig(replicates=300)
    found = [
        compare(predictions(first < 0.6), predictions(second < 0.6), config)
        for first, second in generator.random((150, 2, 100))
    ]
    alarms = np.mean([one.difference.low > 0 or one.difference.high < 0 for one in found])
    assert alarms < 0.1
    assert np.mean([one.p_bootstrap < 0.05 for one in found]) < 0.1


def binomial(first: int, second: int) -> float:
    """McNemar's exact test of independent items that only one of two systems has right."""
    return binomtest(first, first + second).pvalue if first + second else 1.0


@given(st.lists(st.integers(-1, 1), max_size=30))
def test_mcnemar_of_groups_of_one_item_is_mcnemars(gains):
    first, second = gains.count(1), gains.count(-1)
    expected = binomial(first, second)
    assert grouped_mcnemar(np.array(gains, np.int64)) == pytest.approx(expected, abs=1e-12)


def test_mcnemar_of_groups_counts_every_flip_of_their_signs():
    gains = np.array([3, -1, 2, 5, -2])
    flips = np.array(list(itertools.product((-1, 1), repeat=5))) @ np.abs(gains)
    expected = np.mean(np.abs(flips) >= abs(gains.sum()))
    assert grouped_mcnemar(gains) == pytest.approx(expected)


def test_groups_whose_items_are_alike_call_equal_systems_different_as_rarely_as_promised():
    generator = np.random.default_rng(3)
    groups = np.repeat(np.arange(20), 10)
    grouped, alone = [], []
    for _ in range(200):
        # All ten items of a group are right, or wrong, together.
        first, second = (np.repeat(generator.random(20) < 0.5, 10) for _ in range(2))
        one, other = (predictions(right, groups) for right in (first, second))
        grouped.append(compare(one, other, BootstrapConfig(replicates=2)).p_mcnemar)
        alone.append(binomial(int((first & ~second).sum()), int((second & ~first).sum())))
    assert np.mean(np.array(grouped) < 0.05) <= 0.05
    assert np.mean(np.array(alone) < 0.05) > 0.3


def test_ranks_over_tasks_are_friedmans():
    scores = np.random.default_rng(0).random((6, 4))
    found = rank_systems(scores)
    assert found.p_friedman == pytest.approx(friedmanchisquare(*scores.T).pvalue)
    assert sum(found.mean_ranks) == pytest.approx(10)
    assert rank_systems(np.ones((3, 3))).p_friedman == 1.0
    assert rank_systems(scores[:, :2]) is None


def test_holm_corrects_in_order_and_never_below_an_earlier_one():
    # Worked example: 3 p-values, times 3, 2, 1, made monotone.
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_what_was_not_measured_on_the_same_items_is_refused():
    one = predictions(np.ones(20, bool))
    other = replace(one, ids=(*one.ids[:-1], "cut99"))
    with pytest.raises(UserError, match="2 test items are only in one of the two"):
        compare(one, other, FEW)
    with pytest.raises(UserError, match="labels of its test items differ"):
        compare(one, replace(one, targets=~one.targets), FEW)
    with pytest.raises(UserError, match=r"classes differ \(third\)"):
        compare(one, replace(one, classes=("even", "odd", "third")), FEW)
