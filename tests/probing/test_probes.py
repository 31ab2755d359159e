"""Properties of every probe; what is special to one is in its own file."""

from dataclasses import replace

import numpy as np
import pytest

from audiossl.probing.linear import LinearConfig
from audiossl.probing.measure import fit_probe
from audiossl.probing.mlp import MlpConfig
from audiossl.probing.neighbors import NeighborsConfig
from audiossl.probing.probe import Examples, Problem, Standardizer
from tests.probing.made import embeddings_of

PROBES = [
    LinearConfig(costs=(0.01, 1.0)),
    NeighborsConfig(),
    MlpConfig(hidden=16, rates=(1e-2,), seeds=2, max_epochs=30),
]


def problem(kind="single", *, windows=1, noise=1.0, classes=3):
    """Clouds to tell apart, a row or several an item."""
    generator = np.random.default_rng(0)
    items = 90
    targets = np.eye(classes, dtype=bool)[generator.integers(classes, size=items)]
    if kind == "multi":
        targets |= generator.random(targets.shape) < 0.2
    owner = np.repeat(np.arange(items), windows)
    vectors = embeddings_of(targets[owner], noise=noise)
    parts = [
        Examples(
            vectors[(owner >= a) & (owner < b)],
            owner[(owner >= a) & (owner < b)] - a,
            targets[a:b],
        )
        for a, b in ((0, 60), (60, 90))
    ]
    return Problem(*parts, kind, "accuracy" if kind == "single" else "pr_auc")


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.kind)
@pytest.mark.parametrize("kind", ["single", "multi"])
@pytest.mark.parametrize("windows", [1, 3])
def test_clouds_are_told_apart(probe, kind, windows):
    clouds = problem(kind, windows=windows)
    fitted = fit_probe(probe, clouds)
    assert fitted.validation > 0.85
    said = fitted.predict(clouds.valid.vectors)
    assert said.shape[1:] == (30 * windows, 3)
    assert 0 <= said.min() <= said.max() <= 1
    scores = [clouds.validation(run) for run in said]
    assert np.mean(scores) == pytest.approx(fitted.validation)


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.kind)
def test_scale_and_offset_of_embeddings_do_not_matter(probe):
    one = problem(noise=2.0)
    scale = np.float32(2.0) ** np.arange(8, dtype=np.float32)
    moved = Problem(
        *(Examples(e.vectors * scale + 4, e.items, e.targets) for e in (one.train, one.valid)),
        one.kind, one.metric,
    )  # fmt: skip
    first, second = fit_probe(probe, one), fit_probe(probe, moved)
    assert first.choice == second.choice
    np.testing.assert_allclose(
        first.predict(one.valid.vectors), second.predict(moved.valid.vectors), atol=0.02
    )


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.kind)
def test_the_same_problem_gives_the_same_probe(probe):
    first, second = (fit_probe(probe, problem(noise=3.0)) for _ in range(2))
    rows = problem().valid.vectors
    np.testing.assert_array_equal(first.predict(rows), second.predict(rows))


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.kind)
def test_dimensions_that_never_change_do_no_harm(probe):
    one = problem()
    flat = Problem(
        *(
            Examples(np.pad(e.vectors, ((0, 0), (0, 2)), constant_values=7e4), e.items, e.targets)
            for e in (one.train, one.valid)
        ),
        one.kind, one.metric,
    )  # fmt: skip
    assert fit_probe(probe, flat).validation > 0.85


def test_rows_of_an_item_are_averaged():
    owner = np.array([0, 0, 0, 1, 2, 2])
    values = np.array([[1.0], [2], [3], [10], [4], [6]], np.float32)
    examples = Examples(values, owner, np.zeros((3, 2), bool))
    assert examples.by_item(values)[:, 0].tolist() == [2.0, 10.0, 5.0]
    assert examples.averaged().items.tolist() == [0, 1, 2]


def test_standardizing_knows_only_the_training_rows():
    rows = np.random.default_rng(0).normal(3, 5, size=(100, 4)).astype(np.float32)
    scaled = Standardizer(rows)(rows)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("kind", ["single", "multi"])
@pytest.mark.parametrize("windows", [1, 3])
def test_folds_choose_by_items_of_groups_that_were_not_fitted(kind, windows):
    clouds = problem(kind, windows=windows, noise=3.0)
    config = LinearConfig(costs=(1e-3, 1.0), folds_below=1000)
    chosen = fit_probe(config, clouds)
    # With copies of all items in other groups, a probe has seen what it is scored on.
    copies = clouds.train.followed_by(clouds.valid)
    copied = Problem(copies, copies, clouds.kind, clouds.metric)
    assert fit_probe(config, copied).validation > chosen.validation + 0.02
    numbers = np.arange(90)
    together = Problem(
        *(replace(copies, groups=numbers) for _ in range(2)), clouds.kind, clouds.metric
    )
    assert fit_probe(config, together).validation < fit_probe(config, copied).validation
    # The final fit has both parts.
    whole = fit_probe(LinearConfig(costs=(chosen.choice["C"],)), copied)
    rows = clouds.valid.vectors
    np.testing.assert_allclose(chosen.predict(rows), whole.predict(rows), atol=0.01)


def test_folds_of_groups_are_whole_and_about_equal():
    groups = np.repeat(np.arange(20), 5)
    examples = Examples(np.zeros((100, 1), np.float32), np.arange(100), np.ones((100, 1), bool))
    folds = replace(examples, groups=groups).folds(5)
    assert all(len(set(folds[groups == group])) == 1 for group in range(20))
    assert np.bincount(folds).tolist() == [20] * 5


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_a_class_that_a_fold_has_alone_does_no_harm(kind):
    clouds = problem(kind)
    targets = np.zeros((60, 1), bool)
    targets[0] = True
    rare = np.concatenate([clouds.train.targets, targets], axis=1)
    if kind == "single":
        rare[0, :3] = False
    train = replace(clouds.train, targets=rare)
    valid = replace(clouds.valid, targets=np.pad(clouds.valid.targets, ((0, 0), (0, 1))))
    config = LinearConfig(costs=(0.1,), folds_below=1000)
    # Of the macro average over four classes the one without a probe has nothing.
    least = 0.8 if kind == "single" else 0.6
    assert fit_probe(config, Problem(train, valid, kind, clouds.metric)).validation > least
