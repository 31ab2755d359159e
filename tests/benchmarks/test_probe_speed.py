"""Probes against the loops that people write: one fit a setting."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_limits

from audiossl.probing.heads import HeadPlan, train_heads
from audiossl.probing.linear import LinearConfig, fit_linear
from audiossl.probing.mlp import MlpConfig, fit_mlp
from audiossl.probing.neighbors import NeighborsConfig, fit_neighbors
from audiossl.probing.probe import Examples, Problem, Standardizer
from tests.benchmarks.rounds import compare


def problem(rows, dim, classes, spread=0.15):
    """Clusters that overlap, a fifth of them for validation."""
    generator = np.random.default_rng(0)
    centers = spread * generator.normal(size=(classes, dim))
    labels = generator.integers(classes, size=rows)
    vectors = (centers[labels] + generator.normal(size=(rows, dim))).astype(np.float32)
    targets, valid = np.eye(classes, dtype=bool)[labels], rows // 5
    parts = [
        Examples(vectors[part], np.arange(len(vectors[part])), targets[part])
        for part in (slice(valid, None), slice(0, valid))
    ]
    return Problem(*parts, "single", "accuracy")


def accuracy(probabilities, targets):
    return float((probabilities.argmax(axis=-1) == targets.argmax(axis=-1)).mean())


@pytest.mark.parametrize("dim", [64, 512])
def test_a_sweep_of_mlp_probes(dim):
    one = problem(800, dim, 20)
    config = MlpConfig(rates=(1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1), max_epochs=3)

    def together():
        return fit_mlp(config, one)

    def alone():
        return [fit_mlp(replace(config, rates=(rate,)), one).validation for rate in config.rates]

    def one_by_one():
        for rate in config.rates:
            for _ in range(config.seeds):
                fit_mlp(replace(config, rates=(rate,), seeds=1), one)

    assert together().validation == pytest.approx(max(alone()), abs=0.01)
    ratio = compare(
        f"MLP probes of {dim} dimensions, 7 rates x 3 seeds, against 21 runs one by one",
        together, one_by_one, rounds=3, goal=1.5,
        floor=f"both do the same products, {2 * 3 * 64 * dim * 512 / 1e6:.0f} MFLOP a step and "
        "network, with the same fused optimizer; only what surrounds them is shared",
    )  # fmt: skip
    assert ratio > 0.9


def layers_of(one, count):
    """The same items under several embeddings of one dimension."""
    generator, dim = np.random.default_rng(1), one.train.vectors.shape[1]
    turns = [generator.normal(size=(dim, dim)).astype(np.float32) for _ in range(count)]
    parts = [
        [replace(e, vectors=e.vectors @ turn / dim**0.5) for e in (one.train, one.valid)]
        for turn in turns
    ]
    return [replace(one, train=train, valid=valid) for train, valid in parts]


LINEAR = HeadPlan(
    norm="standard", rates=tuple(10.0**power for power in range(-7, 0)), seeds=(0, 1, 2),
    batch_size=64, epochs=6,
)  # fmt: skip


@pytest.mark.parametrize(("rows", "dim", "classes"), [(800, 64, 10), (2000, 768, 20)])
def test_a_sweep_of_linear_heads(rows, dim, classes):
    layers = layers_of(problem(rows, dim, classes), 12)
    single = replace(LINEAR, rates=LINEAR.rates[-2:-1], seeds=(0,))
    ratio = compare(
        f"linear heads of {dim} dimensions, 12 layers x 7 rates x 3 seeds, against one run",
        lambda: train_heads(LINEAR, layers), lambda: train_heads(single, layers[:1]), rounds=3,
        goal=0.33, itself=True,
        floor=f"a step of all is 252 times the {256 * dim * classes / 1e6:.2f} MFLOP of one, most "
        "of whose time is calls where dimensions are few",
    )  # fmt: skip
    assert ratio > 1 / 100


@pytest.mark.parametrize(("dim", "epochs", "step"), [(64, 6, 10), (768, 2, 5)])
def test_linear_heads_together_and_one_by_one(dim, epochs, step):
    layers, plan = layers_of(problem(800, dim, 10), 12), replace(LINEAR, epochs=epochs)
    settings = [(one, r, s) for one in layers for r in plan.rates for s in plan.seeds]

    def one_by_one():
        for layer, rate, seed in settings[::step]:
            train_heads(replace(plan, rates=(rate,), seeds=(seed,)), [layer])

    ratio = compare(
        f"252 linear heads of {dim} dimensions, against one of {step} of them, one by one",
        lambda: train_heads(plan, layers), one_by_one, rounds=3, goal=2.0,
        floor="the products are the same; calls, the optimizer and validation are shared",
    )  # fmt: skip
    assert ratio > 0.7


def test_a_path_of_logistic_regressions():
    one = problem(2500, 128, 20)
    config = LinearConfig(costs=tuple(10.0**power for power in range(-5, 3)))
    scaled = Standardizer(one.train.vectors)
    train, valid = scaled(one.train.vectors), scaled(one.valid.vectors)
    labels = one.train.targets.argmax(axis=1)

    def fitted(cost):
        return LogisticRegression(C=cost, max_iter=500).fit(train, labels)

    def loop():
        with threadpool_limits(1):  # as ours: threads that wait for each other are no peer
            models = [fitted(cost) for cost in config.costs]
        return max(accuracy(model.predict_proba(valid), one.valid.targets) for model in models)

    assert fit_linear(config, one).validation == pytest.approx(loop(), abs=0.005)
    ratio = compare(
        "logistic regression, 8 C, against scikit-learn in a loop",
        lambda: fit_linear(config, one), loop, rounds=5, goal=3.0,
        floor="the solver is scikit-learn's in both, so that scores are its own; what is saved is "
        "to begin each C where the last one ended",
    )  # fmt: skip
    assert ratio > 0.85


def test_neighbors():
    one = problem(6000, 256, 20)
    config = NeighborsConfig(temperature=None)
    scaled = Standardizer(one.train.vectors)
    train, valid = scaled(one.train.vectors), scaled(one.valid.vectors)
    labels = one.train.targets.argmax(axis=1)

    def loop():
        scores = []
        for count in config.counts:
            model = KNeighborsClassifier(count, metric="cosine", algorithm="brute")
            model.fit(train, labels)
            scores.append(accuracy(model.predict_proba(valid), one.valid.targets))
        return max(scores)

    assert fit_neighbors(config, one).validation == pytest.approx(loop(), abs=0.005)
    ratio = compare(
        "nearest neighbors, 5 k, against scikit-learn",
        lambda: fit_neighbors(config, one), loop, rounds=7, goal=3.0,
        floor="one product of all pairs and one partial sort of each row remain",
    )  # fmt: skip
    assert ratio > 0.85
