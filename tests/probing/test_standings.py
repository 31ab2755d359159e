import math

import numpy as np
import pytest
from scipy.stats import norm

from audiossl.probing.bootstrap import BootstrapConfig
from audiossl.probing.standings import standard_scores, standings

CONFIG = BootstrapConfig(replicates=200)


def table(scores, families, draws=200):
    generator = np.random.default_rng(0)
    scores = np.asarray(scores, float)
    noise = generator.normal(0, 0.01, (*scores.shape, draws))
    drawn = np.concatenate([scores[..., None], scores[..., None] + noise], axis=2)
    names = [f"e{row}" for row in range(len(scores))]
    return {row.encoder: row for row in standings(drawn, names, families, CONFIG)}


def test_of_normal_scores_they_are_z_scores():
    scores = norm.ppf((np.arange(10001) + 0.5) / 10001) * 3 + 7
    np.testing.assert_allclose(standard_scores(scores), (scores - 7) / 3, atol=2e-3)


def test_scale_and_offset_of_a_metric_change_nothing_and_an_outlier_little():
    scores = np.array([[0.2, 20.0], [0.5, 50.0], [0.6, 60.0], [0.9, 90.0]])
    standard = standard_scores(scores)
    np.testing.assert_allclose(standard[:, 0], standard[:, 1])
    worse = scores[:, 0].copy()
    worse[0] = -100.0
    np.testing.assert_allclose(standard_scores(worse)[1:], standard[1:, 0])


def test_a_family_of_many_tasks_counts_as_much_as_one():
    scores = [[0.9, 0.9, 0.9, 0.1], [0.5, 0.5, 0.5, 0.5], [0.1, 0.1, 0.1, 0.9]]
    rows = table(scores, ["tags", "tags", "tags", "pitch"])
    assert rows["e0"].overall.score == pytest.approx(0.0)
    assert rows["e0"].families == pytest.approx({"tags": 0.6745, "pitch": -0.6745}, abs=1e-3)
    assert rows["e0"].mean_rank == pytest.approx(1.5)


def test_the_interval_holds_the_score_and_the_best_comes_first():
    rows = table([[0.1, 0.2], [0.5, 0.5], [0.8, 0.9]], ["a", "b"])
    assert list(rows) == ["e2", "e1", "e0"]
    for row in rows.values():
        assert row.overall.low <= row.overall.score <= row.overall.high


def test_a_task_on_which_all_are_alike_has_no_part():
    rows = table([[0.1, 0.5], [0.5, 0.5], [0.9, 0.5]], ["a", "b"])
    assert math.isnan(rows["e2"].families["b"])
    assert rows["e2"].overall.score == pytest.approx(0.6745, abs=1e-3)
