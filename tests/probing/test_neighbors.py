import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from audiossl.probing import neighbors
from audiossl.probing.neighbors import NeighborsConfig, fit_neighbors
from audiossl.probing.probe import Standardizer
from tests.probing.test_probes import problem


def test_equal_votes_are_those_of_sklearn():
    one = problem(noise=2.0)
    fitted = fit_neighbors(NeighborsConfig(counts=(5,), temperature=None), one)
    scaled = Standardizer(one.train.vectors)
    peer = KNeighborsClassifier(5, metric="cosine").fit(
        scaled(one.train.vectors), one.train.targets.argmax(axis=1)
    )
    expected = peer.predict_proba(scaled(one.valid.vectors))
    np.testing.assert_allclose(fitted.predict(one.valid.vectors)[0], expected, atol=1e-6)


def test_nearer_neighbors_weigh_more():
    one = problem(noise=2.0)
    config = NeighborsConfig(counts=(7,), temperature=0.1)
    said = fit_neighbors(config, one).predict(one.valid.vectors)[0]
    scaled = Standardizer(one.train.vectors)
    rows, known = scaled(one.valid.vectors), scaled(one.train.vectors)
    for row, votes in zip(rows, said, strict=True):
        cosine = known @ row / np.linalg.norm(known, axis=1) / np.linalg.norm(row)
        nearest = np.argsort(-cosine)[:7]
        weights = np.exp(cosine[nearest] / 0.1)
        expected = weights @ one.train.targets[nearest] / weights.sum()
        np.testing.assert_allclose(votes, expected, atol=1e-4)


def test_blocks_change_nothing(monkeypatch):
    one = problem(noise=2.0)
    whole = fit_neighbors(NeighborsConfig(), one).predict(one.valid.vectors)
    monkeypatch.setattr(neighbors, "_BLOCK", 7)
    parts = fit_neighbors(NeighborsConfig(), one).predict(one.valid.vectors)
    np.testing.assert_allclose(whole, parts, atol=1e-6)


def test_more_neighbors_than_there_are_is_all_of_them():
    fitted = fit_neighbors(NeighborsConfig(counts=(500,)), problem())
    assert fitted.choice == {"k": 60}
