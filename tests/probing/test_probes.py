"""Properties of every probe; what is special to one is in its own file."""

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
