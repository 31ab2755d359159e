import numpy as np
import pytest

from audiossl.probing import mlp
from audiossl.probing.mlp import MlpConfig, fit_mlp
from audiossl.probing.probe import Examples, Problem
from tests.probing.test_probes import problem


def exclusive_or():
    generator = np.random.default_rng(0)
    corners = generator.integers(2, size=(300, 2))
    vectors = (corners + 0.1 * generator.normal(size=corners.shape)).astype(np.float32)
    targets = np.eye(2, dtype=bool)[corners.sum(axis=1) % 2]
    parts = [
        Examples(vectors[a:b], np.arange(b - a), targets[a:b]) for a, b in ((0, 200), (200, 300))
    ]
    return Problem(*parts, "single", "accuracy")


def test_what_no_line_divides_is_learnt():
    config = MlpConfig(hidden=32, rates=(1e-2,), seeds=2, dropout=0.0)
    assert fit_mlp(config, exclusive_or()).validation > 0.99


def test_networks_that_are_trained_together_are_those_trained_alone():
    one = problem(noise=2.0)
    together = MlpConfig(hidden=8, rates=(1e-2, 1e-3), seeds=1, dropout=0.0, max_epochs=5)
    rate = fit_mlp(together, one)
    alone = MlpConfig(hidden=8, rates=(rate.choice["rate"],), seeds=1, dropout=0.0, max_epochs=5)
    np.testing.assert_allclose(
        rate.predict(one.valid.vectors), fit_mlp(alone, one).predict(one.valid.vectors), atol=1e-5
    )


def test_each_seed_is_a_run():
    one = problem(noise=2.0)
    said = fit_mlp(MlpConfig(hidden=8, seeds=3, max_epochs=3), one).predict(one.valid.vectors)
    assert len(said) == 3
    assert np.abs(said[0] - said[1]).max() > 1e-3


@pytest.mark.parametrize("together", [1, 2, 6])
def test_which_networks_are_trained_together_changes_nothing(together, monkeypatch):
    one, config = exclusive_or(), MlpConfig(hidden=8, rates=(1e-3, 1e-2), max_epochs=30, patience=3)
    expected = fit_mlp(config, one)
    monkeypatch.setattr(mlp, "_runs_at_once", lambda *_: together)
    found = fit_mlp(config, one)
    assert (found.choice, found.validation) == (expected.choice, expected.validation)
    np.testing.assert_allclose(
        found.predict(one.valid.vectors), expected.predict(one.valid.vectors), atol=1e-5
    )
