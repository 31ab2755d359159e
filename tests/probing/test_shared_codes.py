import math

import numpy as np
import pytest

from audiossl.probing.shared_codes import (
    Agreement,
    agreement,
    code_figures,
    count_labels,
    localize,
    most_used,
)


def _counts(first, second, labels=4, codes=6):
    modalities = ((np.array(c), np.array(names)) for c, names in (first, second))
    return np.stack([count_labels(c, names, codes, labels) for c, names in modalities])


def test_codes_that_are_labels_on_both_modalities_are_pure_joint_and_transfer():
    labels = np.arange(40) % 4
    figures = code_figures(_counts((labels + 1, labels), (labels + 1, labels)))
    assert figures.joint_share == 1.0
    assert figures.purity == figures.transfer == (1.0, 1.0)
    assert figures.shared_information == pytest.approx((1.0, 1.0))
    assert figures.majority == (0.25, 0.25)
    assert figures.perplexity == pytest.approx((4.0, 4.0))
    assert figures.active == 4


def test_a_codebook_that_splits_by_modality_transfers_nothing_however_pure():
    labels = np.arange(40) % 2
    figures = code_figures(_counts((labels, labels), (labels + 2, labels)))
    assert figures.joint_share == 0.0
    assert figures.purity == (1.0, 1.0)
    assert figures.transfer == (0.0, 0.0)


def test_a_label_that_is_split_over_codes_lowers_cluster_purity_and_not_purity():
    labels = np.arange(40) % 2
    figures = code_figures(_counts((np.arange(40) % 4, labels), (labels, labels)))
    assert figures.purity == (1.0, 1.0)
    assert figures.cluster_purity == (0.5, 1.0)


def test_one_code_for_everything_is_no_better_than_the_majority():
    labels = np.array([0, 0, 0, 1])
    figures = code_figures(_counts(([0] * 40, np.resize(labels, 40)), ([0] * 4, labels)))
    assert figures.purity == figures.majority == (0.75, 0.75)
    assert figures.shared_information == pytest.approx((0.0, 0.0))


def test_joint_use_is_relative_to_how_many_frames_a_modality_has():
    labels = np.zeros(1000, int)
    counts = _counts((np.arange(1000) % 2, labels), ([0] * 10 + [1] * 10, labels[:20]))
    assert code_figures(counts).joint_share == 1.0


def test_codes_used_less_than_five_times_are_not_counted():
    counts = _counts(([0] * 20 + [5], [0] * 21), ([0] * 20, [0] * 20))
    assert code_figures(counts).joint_share == 1.0
    assert math.isnan(code_figures(np.zeros((2, 6, 4), int)).joint_share)


def test_agreement_of_a_collapsed_codebook_is_no_more_than_chance():
    same = np.zeros(30, int)
    assert agreement(same, same) == Agreement(1.0, 0.0)
    codes = np.random.default_rng(0).integers(8, size=4000)
    assert agreement(codes, codes) == Agreement(1.0, 1.0)
    assert abs(agreement(codes, np.roll(codes, 1)).kappa) < 0.05
    assert agreement(codes, np.roll(codes, 1), tolerance=1).share > 0.99


def test_a_code_is_found_where_it_fires():
    codes = np.array([3, 3, 1, 3, 0, 3])
    assert localize(codes, 3, 2.0) == [(0.0, 1.0), (1.5, 2.0), (2.5, 3.0)]
    assert localize(codes, 7, 2.0) == []


def test_codes_that_all_modalities_use_come_first():
    counts = _counts(([0] * 8 + [1] * 2, [0] * 10), ([2] * 5 + [1] * 5, [0] * 10))
    assert most_used(counts)[:3].tolist() == [1, 0, 2]
