import numpy as np
import pytest

from audiossl.probing.verification import equal_error_rate


def test_scores_of_two_normal_distributions_have_the_rate_of_theory():
    generator = np.random.default_rng(0)
    same = np.repeat([True, False], 50_000)
    scores = generator.normal(size=100_000) + 2.0 * same
    assert equal_error_rate(same, scores) == pytest.approx(0.1587, abs=0.003)  # Phi(-1)


@pytest.mark.parametrize(
    ("same", "scores", "rate"),
    [
        ([1, 1, 0, 0], [4, 3, 2, 1], 0.0),
        ([0, 0, 1, 1], [4, 3, 2, 1], 1.0),
        ([1, 0, 1, 0], [1, 1, 1, 1], 0.5),
        ([1, 1, 1], [1, 2, 3], np.nan),
    ],
)
def test_closed_forms(same, scores, rate):
    found = equal_error_rate(np.array(same, bool), np.array(scores, float))
    assert found == pytest.approx(rate, nan_ok=True)
