import numpy as np
import pytest
from scipy import stats
from sklearn import metrics
from sklearn.linear_model import Ridge

from audiossl.errors import UserError
from audiossl.probing.embeddings import Embeddings
from audiossl.probing.linear import LinearConfig
from audiossl.probing.measure import chance_scores, fit_probes, majority, measure
from audiossl.probing.metrics import METRICS, plain
from audiossl.probing.neighbors import NeighborsConfig
from audiossl.probing.probe import Examples, Problem, Standardizer
from audiossl.probing.protocols.evar import EvarConfig
from audiossl.probing.ridge import fit_ridge
from audiossl.probing.tasks import TaskConfig, build_task


def numbers(rows=120, noise=0.5):
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(rows, 6)).astype(np.float32)
    truth = vectors @ generator.normal(size=(6, 1)) + noise * generator.normal(size=(rows, 1))
    return vectors, 10 + truth


def problem():
    vectors, truth = numbers()
    parts = [
        Examples(vectors[rows], np.arange(len(vectors[rows])), truth[rows])
        for rows in (slice(80), slice(80, None))
    ]
    return Problem(*parts, "number", "r2")


def test_a_fit_is_that_of_scikit_learn():
    made = problem()
    scaled = Standardizer(made.train.vectors)
    expected = Ridge(alpha=10.0).fit(scaled(made.train.vectors), made.train.targets)
    found = fit_ridge([0.1], made).predict(made.valid.vectors)[0]
    assert found == pytest.approx(
        expected.predict(scaled(made.valid.vectors)).reshape(found.shape), rel=1e-4
    )


def test_scores_of_numbers_are_those_of_scikit_learn_and_scipy():
    _, truth = numbers()
    said = (truth + np.random.default_rng(1).normal(size=truth.shape)).astype(np.float32)
    assert plain(METRICS["r2"], truth, said) == pytest.approx(metrics.r2_score(truth, said))
    error = metrics.mean_squared_error(truth, said)
    assert plain(METRICS["neg_mse"], truth, said) == pytest.approx(-error)
    correlation = stats.pearsonr(truth[:, 0], said[:, 0]).statistic
    assert plain(METRICS["pearson"], truth, said) == pytest.approx(correlation)
    flat = np.full_like(said, 3.0)
    assert plain(METRICS["pearson"], truth, flat) == 0.0


def test_numbers_are_a_task_like_others():
    vectors, truth = numbers()
    splits = ("train", "train", "valid", "test")
    cuts = [
        {"id": f"cut{n}", "recording": f"{n}", "arousal": f"{x:.6f}", "split": splits[n % 4]}
        for n, x in enumerate(truth[:, 0])
    ]
    task = build_task(TaskConfig(name="a", label="arousal", kind="number", metric="r2"), cuts)
    embeddings = Embeddings({"clip": vectors}, np.arange(len(vectors) + 1))
    for probe, least in ((LinearConfig(), 0.8), (NeighborsConfig(), 0.3)):
        measured = measure(task, embeddings, probe, encoder="one")
        assert measured.predictions.score("r2") > least
    assert majority(task).score("r2") == pytest.approx(0.0, abs=0.1)
    assert chance_scores(task)["pearson"] == 0.0


def test_what_makes_no_sense_is_refused():
    with pytest.raises(UserError, match="is not of number: choose r2, pearson, neg_mse"):
        TaskConfig(name="a", label="arousal", kind="number")
    with pytest.raises(UserError, match="needs kind: number, but its kind is single"):
        TaskConfig(name="a", label="arousal", metric="r2")
    with pytest.raises(UserError, match="evar tells classes"):
        fit_probes(EvarConfig(), {"clip": problem()})
    cuts = [{"id": "cut", "recording": "r", "arousal": "high", "split": "train"}]
    with pytest.raises(UserError, match="'high' is no number"):
        build_task(TaskConfig(name="a", label="arousal", kind="number", metric="r2"), cuts)
