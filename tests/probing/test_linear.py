import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from audiossl.probing.linear import LinearConfig, fit_linear
from audiossl.probing.probe import Standardizer
from tests.probing.test_probes import problem


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("class_weight", ["none", "balanced"])
def test_one_class_an_item_is_a_multinomial_regression(classes, class_weight):
    one = problem(noise=2.0, classes=classes)
    config = LinearConfig(costs=(0.1,), class_weight=class_weight, max_iterations=5000)
    fitted = fit_linear(config, one)
    scaled = Standardizer(one.train.vectors)
    peer = LogisticRegression(
        C=0.1, class_weight=None if class_weight == "none" else "balanced", max_iter=5000
    ).fit(scaled(one.train.vectors), one.train.targets.argmax(axis=1))
    expected = peer.predict_proba(scaled(one.valid.vectors))
    np.testing.assert_allclose(fitted.predict(one.valid.vectors)[0], expected, atol=2e-3)


def test_any_number_of_classes_is_a_regression_each():
    one = problem("multi", noise=2.0)
    fitted = fit_linear(LinearConfig(costs=(1.0,), max_iterations=5000), one)
    scaled = Standardizer(one.train.vectors)
    peer = OneVsRestClassifier(LogisticRegression(max_iter=5000)).fit(
        scaled(one.train.vectors), one.train.targets
    )
    expected = peer.predict_proba(scaled(one.valid.vectors))
    np.testing.assert_allclose(fitted.predict(one.valid.vectors)[0], expected, atol=2e-3)


def test_walking_the_path_ends_where_a_fresh_fit_does():
    one = problem(noise=2.0)
    walked = fit_linear(LinearConfig(costs=(1e-4, 1e-2, 1.0), max_iterations=5000), one)
    cost = walked.choice["C"]
    fresh = fit_linear(LinearConfig(costs=(cost,), max_iterations=5000), one)
    rows = one.valid.vectors
    np.testing.assert_allclose(walked.predict(rows), fresh.predict(rows), atol=2e-3)


def test_the_smallest_of_equal_costs_is_chosen():
    assert fit_linear(LinearConfig(costs=(10.0, 1.0, 100.0)), problem(noise=0.1)).choice == {
        "C": 1.0
    }
