"""A bootstrap by weights against resampling items and scoring each draw anew: the same numbers."""

import numpy as np
from sklearn.metrics import average_precision_score

from audiossl.probing.bootstrap import BootstrapConfig, group_weights
from audiossl.probing.metrics import METRICS
from tests.benchmarks.rounds import compare

ITEMS, CLASSES, REPLICATES = 1000, 20, 50


def test_replicates_of_a_macro_average_precision():
    generator = np.random.default_rng(0)
    targets = generator.random((ITEMS, CLASSES)) < 0.2
    scores = (targets + generator.normal(size=targets.shape)).astype(np.float32)
    (weights,) = group_weights(np.arange(ITEMS), BootstrapConfig(replicates=REPLICATES))

    def by_weights():
        return METRICS["pr_auc"].function(targets, scores, weights)

    def by_items():
        draws = [np.repeat(np.arange(ITEMS), row.astype(int)) for row in weights]
        return [average_precision_score(targets[rows], scores[rows]) for rows in draws]

    np.testing.assert_allclose(by_weights(), by_items(), rtol=1e-6)
    name = f"{REPLICATES} replicates of a macro average precision, against scikit-learn in a loop"
    assert compare(name, by_weights, by_items, rounds=5, goal=10.0) > 5
