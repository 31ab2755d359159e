import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import ParameterGrid

from audiossl.probing.measure import fit_probes
from audiossl.probing.protocols import few_shot, hear
from audiossl.probing.protocols.evar import EvarConfig
from audiossl.probing.protocols.few_shot import FewShotConfig
from audiossl.probing.protocols.hear import GRID, HearConfig
from audiossl.probing.protocols.marble import MarbleConfig
from audiossl.probing.protocols.xares import XaresLinearConfig, XaresNeighborsConfig
from tests.probing.protocols.made_problems import clouds

SMALL = [
    HearConfig(epochs=60, grid=GRID[2:4], hidden=64, batch_size=16),
    XaresLinearConfig(rate=0.05),
    XaresNeighborsConfig(variant="clean"),
    FewShotConfig(),
    EvarConfig(rates=(0.01,), epochs=30),
    MarbleConfig(hidden=32, rates=(0.01,)),
    MarbleConfig(hidden=32, rates=(0.01,), variant="clean"),
]


@pytest.mark.parametrize("probe", SMALL, ids=lambda probe: probe.kind)
@pytest.mark.parametrize("kind", ["single", "multi"])
def test_clouds_are_told_apart_again_and_again(probe, kind):
    problem = clouds(kind, noise=0.5)
    first, second = (fit_probes(probe, {"clip": problem})["clip"] for _ in range(2))
    assert first.validation > 0.85
    said = first.predict(problem.valid.vectors)
    assert 0 <= said.min() <= said.max() <= 1
    assert np.array_equal(said, second.predict(problem.valid.vectors))
    scores = [problem.validation(run) for run in said]
    assert np.mean(scores) == pytest.approx(first.validation)


def test_the_grid_of_hear_is_shuffled_as_heareval_does():
    grid = {
        "hidden_layers": [1, 2],
        "lr": [3.2e-3, 1e-3, 3.2e-4, 1e-4],
        "initialization": ["uniform", "normal"],
    }
    # The other keys of its grid have one value each; keys are gone through in alphabetical order.
    points = list(ParameterGrid(grid))
    shuffled = random.Random(42)
    shuffled.shuffle(points)
    expected = [(p["hidden_layers"], p["lr"], p["initialization"]) for p in points[:8]]
    assert [(p.layers, p.rate, p.init) for p in GRID] == expected


def test_the_network_of_hear_has_its_layers_and_gains():
    network = hear.mlp(HearConfig(), GRID[1], 64, 5)
    names = [type(module).__name__ for module in network]
    assert names == ["Linear", "BatchNorm1d", "Dropout", "ReLU"] * 2 + ["Linear"]
    first, second = network[0].weight.detach(), network[4].weight.detach()
    bound = (6 / (64 + 1024)) ** 0.5
    assert float(first.abs().max()) == pytest.approx(bound, rel=1e-3)
    assert float(second.abs().max()) == pytest.approx((2 * 6 / 2048) ** 0.5, rel=1e-3)


def test_the_rows_of_hear_are_shuffled_only_where_that_is_asked_for(monkeypatch):
    seen = []
    monkeypatch.setattr(
        hear,
        "_learn",
        lambda network, optimizer, batches, kind: seen.append(next(iter(batches))[0]),
    )
    for variant in ("official", "clean"):
        config = HearConfig(variant=variant, grid=GRID[:1], hidden=4, epochs=2)
        hear.fit_hear(config, clouds())
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[2], seen[3])


def test_few_shots_are_those_of_mteb_and_scikit_learn():
    problem = clouds(noise=2.0)
    labels = problem.train.targets.argmax(axis=1)
    config = FewShotConfig()
    order, expected = list(range(len(labels))), []
    for _ in range(config.draws):  # as mteb's AbsTaskClassification._undersample_data
        np.random.RandomState(42).shuffle(order)
        counts, rows = dict.fromkeys(range(3), 0), []
        for row in order:
            if counts[labels[row]] < 8:
                rows.append(row)
                counts[labels[row]] += 1
        model = LogisticRegression(max_iter=100).fit(problem.train.vectors[rows], labels[rows])
        expected.append(model.predict(problem.valid.vectors))
    said = few_shot.fit_few_shot(config, problem).predict(problem.valid.vectors)
    assert np.array_equal(said.argmax(axis=2), expected)


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_every_class_has_its_shots(kind):
    targets = clouds(kind).train.targets
    for rows in few_shot.draws(FewShotConfig(), targets, kind):
        counts = targets[rows].sum(axis=0)
        assert len(set(rows.tolist())) == len(rows)
        assert (counts == 8).all() if kind == "single" else (counts >= 8).all()


def test_the_last_epoch_of_marble_is_kept_and_the_best_where_that_is_asked_for():
    noisy = clouds(noise=3.0, train=30)
    official, clean = (
        fit_probes(MarbleConfig(variant=variant, rates=(0.02,)), {"clip": noisy})["clip"]
        for variant in ("official", "clean")
    )
    assert clean.validation >= official.validation
    once = replace(MarbleConfig(rates=(0.02,)), epochs=1)
    assert fit_probes(once, {"clip": noisy})["clip"].validation <= clean.validation


def test_neighbors_of_x_ares_are_by_cosine_only_where_that_is_asked_for():
    problem = clouds(noise=0.3)
    known = torch.from_numpy(problem.train.vectors)
    rows = torch.nn.functional.normalize(torch.from_numpy(problem.valid.vectors), dim=1)
    # `trainer.py`: train_features = normalize(train_features.T, dim=1)
    scaled = torch.nn.functional.normalize(known.T, dim=1)
    for variant, similarity in (
        ("official", rows @ scaled),
        ("clean", rows @ torch.nn.functional.normalize(known, dim=1).T),
    ):
        nearest = similarity.topk(1).indices[:, 0]
        config = XaresNeighborsConfig(variant=variant, neighbors=1)
        said = fit_probes(config, {"clip": problem})["clip"].predict(problem.valid.vectors)
        expected = problem.train.targets[nearest.numpy()].argmax(axis=1)
        assert np.array_equal(said[0].argmax(axis=1), expected)
