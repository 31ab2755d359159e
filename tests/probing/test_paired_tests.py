from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score

from audiossl.errors import UserError
from audiossl.probing.bootstrap import BootstrapConfig
from audiossl.probing.comparison import compare
from audiossl.probing.paired_tests import corrected_t_test, fold_test, permutation_test
from tests.probing.made import predictions

FEW = BootstrapConfig(replicates=500)
ALL = BootstrapConfig(replicates=1024)


def pair(items: int, seed: int, gain: float = 0.0, groups=None, runs: int = 1):
    generator = np.random.default_rng(seed)
    one, other = generator.random((2, runs, items))
    return predictions(one < 0.6 + gain, groups), predictions(other < 0.6, groups)


def gains_of(one, other, groups) -> np.ndarray:
    differences = one.is_right()[0].astype(float) - other.is_right()[0]
    return np.bincount(groups, weights=differences)


def test_exact_p_is_scipys_sign_flip_of_the_gains_of_groups():
    groups = np.arange(60) % 10
    for seed in range(5):
        one, other = pair(60, seed, 0.2, groups)
        expected = stats.permutation_test(
            (gains_of(one, other, groups),), np.sum, permutation_type="samples", n_resamples=np.inf
        ).pvalue
        assert permutation_test(one, other, ALL) == pytest.approx(expected)


def test_drawn_swaps_come_near_the_exact_p_of_many_groups():
    one, other = pair(200, 3, 0.1)
    exact = compare(one, other, BootstrapConfig(replicates=2)).p_mcnemar
    drawn = permutation_test(one, other, BootstrapConfig(replicates=4000))
    assert drawn == pytest.approx(exact, abs=0.03)
    assert permutation_test(other, one, FEW) == permutation_test(one, other, FEW)


def test_a_metric_that_ranks_items_is_scored_anew_under_every_swap():
    generator = np.random.default_rng(4)
    groups = np.arange(40) % 6
    one, other = predictions(np.ones(40, bool), groups), predictions(np.ones(40, bool), groups)
    runs = generator.random((2, 1, 40, 2)).astype(np.float32)
    one, other = replace(one, runs=runs[0] + 0.5 * one.targets), replace(other, runs=runs[1])
    found = permutation_test(one, other, ALL, "pr_auc")
    scores = [one.runs[0], other.runs[0]]

    def difference(swapped):
        mixed = [np.where(swapped[:, None], scores[1 - i], scores[i]) for i in range(2)]
        return np.subtract(*(average_precision_score(one.targets, each) for each in mixed))

    every = [difference((number >> groups) % 2 == 1) for number in range(2**6)]
    expected = np.mean(np.abs(every) >= abs(every[0]) - 1e-9)
    assert found == pytest.approx(expected)


def test_a_system_is_not_told_from_itself_however_many_runs_it_has():
    one = pair(50, 5, runs=2)[0]
    tripled = replace(one, runs=np.concatenate([one.runs] * 3))
    assert permutation_test(one, one, FEW) == 1.0
    assert permutation_test(one, tripled, FEW) == 1.0


def test_equal_systems_are_called_different_as_rarely_as_promised():
    found = [
        permutation_test(*pair(40, seed, groups=np.arange(40) // 4), BootstrapConfig(replicates=99))
        for seed in range(150)
    ]
    assert np.mean(np.array(found) <= 0.05) < 0.09


def test_the_corrected_t_is_scipys_with_a_wider_error():
    gains = np.random.default_rng(6).normal(0.02, 0.03, size=10)
    plain = stats.ttest_1samp(gains, 0.0)
    assert corrected_t_test(gains, 0.0) == pytest.approx(plain.pvalue)
    # Ten folds of which nine train: the error is wider by the root of 1 + 10 / 9.
    wider = 2 * stats.t.sf(abs(plain.statistic) / np.sqrt(1 + 10 / 9), df=9)
    assert corrected_t_test(gains, 1 / 9) == pytest.approx(wider)
    assert corrected_t_test(np.zeros(5), 1 / 3) == 1.0
    assert corrected_t_test(np.ones(1), 1 / 3) is None


def test_folds_that_share_their_training_items_call_equal_systems_different_rarely():
    generator = np.random.default_rng(7)
    # What two trained systems share over folds, beside what is a fold's own.
    ratio, plain, corrected = 1 / 3, [], []
    for _ in range(300):
        gains = generator.normal(0, np.sqrt(ratio)) + generator.normal(size=5)
        plain.append(stats.ttest_1samp(gains, 0.0).pvalue)
        corrected.append(corrected_t_test(gains, ratio))
    assert np.mean(np.array(corrected) < 0.05) < 0.08 < np.mean(np.array(plain) < 0.05)


def test_folds_of_predictions_are_scored_one_by_one():
    one, other = (replace(each, folds=np.arange(60) % 5) for each in pair(60, 8, 0.2))
    gains = np.array(
        [
            one.is_right()[0][one.folds == fold].mean()
            - other.is_right()[0][one.folds == fold].mean()
            for fold in range(5)
        ]
    )
    assert fold_test(one, other) == pytest.approx(corrected_t_test(gains, 1 / 3))
    assert fold_test(*pair(60, 8)) is None


def test_what_was_not_measured_on_the_same_items_is_refused():
    one, other = pair(20, 9)
    with pytest.raises(UserError, match="test items are only in one"):
        permutation_test(one, replace(other, ids=(*other.ids[:-1], "cut99")), FEW)


def test_a_metric_that_is_not_defined_on_the_items_has_no_p():
    one, other = pair(8, 0)
    one, other = (replace(each, targets=np.ones_like(each.targets)) for each in (one, other))
    for config in (FEW, BootstrapConfig(replicates=100)):
        assert permutation_test(one, other, config, "roc_auc") is None
