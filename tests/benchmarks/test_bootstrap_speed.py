"""A bootstrap by weights against resampling items and scoring each draw anew: the same numbers."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from audiossl.probing.bootstrap import BootstrapConfig, group_weights
from audiossl.probing.metrics import METRICS
from tests.benchmarks.rounds import compare

ITEMS, CLASSES, REPLICATES = 1000, 20, 50


@pytest.mark.parametrize(
    ("metric", "name", "peer"),
    [
        ("pr_auc", "average precision", average_precision_score),
        ("roc_auc", "area under the ROC curve", roc_auc_score),
    ],
)
def test_replicates_of_a_macro_average(metric, name, peer):
    generator = np.random.default_rng(0)
    targets = generator.random((ITEMS, CLASSES)) < 0.2
    scores = (targets + generator.normal(size=targets.shape)).astype(np.float32)
    (weights,) = group_weights(np.arange(ITEMS), BootstrapConfig(replicates=REPLICATES))

    def by_weights():
        return METRICS[metric].function(targets, scores, weights)

    def by_items():
        draws = [np.repeat(np.arange(ITEMS), row.astype(int)) for row in weights]
        return [peer(targets[rows], scores[rows]) for rows in draws]

    np.testing.assert_allclose(by_weights(), by_items(), rtol=1e-6)
    case = f"{REPLICATES} replicates of a macro {name}, against scikit-learn in a loop"
    assert compare(case, by_weights, by_items, rounds=5, goal=10.0) > 5
