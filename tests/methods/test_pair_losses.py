"""Losses of pairs as an option of COLA and of source association, against the formulas by loops."""

import math

import pytest
import torch
from torch.nn import functional as F

from audiossl import distributed
from audiossl.batches import ViewBatch
from audiossl.configs import from_plain
from audiossl.errors import UserError
from audiossl.losses.build import LossConfig, pair_loss
from audiossl.losses.pairs import Pairs
from audiossl.methods.build import build_method
from audiossl.methods.cola import ColaConfig
from audiossl.methods.source_association import SourceAssociationConfig
from audiossl.models.efficientnet import EfficientNet, EfficientNetConfig
from audiossl.nn.similarity import BilinearSimilarity, CosineSimilarity
from audiossl.optim.temperature import TemperatureCycle

TEMPERATURE = 0.3
LOSSES = ["nt_xent", "dcl", "{kind: dcl, both_ways: true}", "dclw", "uniformity"]
TINY = EfficientNetConfig(width=0.25, depth=0.3, stochastic_depth=0.0)


def read(loss):
    import yaml

    return from_plain(LossConfig, yaml.safe_load(loss), "test")


def made(groups, active):
    """Pairs of random vectors."""
    vectors = torch.randn(2, len(groups), 5, dtype=torch.float64, requires_grad=True)
    similarity = CosineSimilarity()
    there = None if active is None else torch.tensor(active)
    pairs = Pairs(*vectors, there, torch.tensor(groups), similarity, TEMPERATURE)
    return vectors, pairs


def by_loops(config, vectors, groups, active):
    """Loss of each pair, from the definition."""
    anchors, positives = (F.normalize(v, dim=1) for v in vectors)
    silent = [i for i, sounds in enumerate(active) if not sounds]
    null = F.normalize(vectors[1][silent].mean(dim=0), dim=0) if silent else None
    targets = [positives[i] if active[i] else null for i in range(len(groups))]
    cosines = torch.stack([a @ t for a, t in zip(anchors, targets, strict=True)])
    both = config.kind == "nt_xent" or config.both_ways
    weights = torch.ones(len(groups))
    if config.kind == "dclw":
        weights = 2 - len(groups) * torch.softmax(cosines.detach() / config.sigma, dim=0)
        weights = weights.clamp(min=0.0)

    def of(vector, target, row):
        others = [j for j in range(len(groups)) if groups[j] != groups[row]]
        negatives = [positives[j] for j in others if active[j]]
        negatives += [anchors[j] for j in others] if both else []
        negatives += [null] if silent and active[row] else []
        positive = vector @ target / TEMPERATURE
        total = sum(torch.exp(vector @ n / TEMPERATURE) for n in negatives)
        if config.kind == "nt_xent":
            return torch.log(total + positive.exp()) - positive
        return torch.log(total) - weights[row] * positive

    losses = []
    for row in range(len(groups)):
        first = of(anchors[row], targets[row], row)
        second = of(positives[row], anchors[row], row) if active[row] and both else first
        losses.append((first + second) / 2)
    return torch.stack(losses).mean()


@pytest.mark.parametrize("active", [None, [True] * 5, [True, False, True, False, True]])
@pytest.mark.parametrize("groups", [[0, 1, 2, 3, 4], [0, 1, 1, 2, 0]])
@pytest.mark.parametrize("loss", LOSSES[:-1])
def test_a_loss_is_its_formula(loss, groups, active):
    config = read(loss)
    vectors, pairs = made(groups, active)
    value = pair_loss(config, pairs)
    expected = by_loops(config, vectors, groups, active or [True] * 5)
    torch.testing.assert_close(value, expected)
    (gradient,) = torch.autograd.grad(value, vectors)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, vectors)[0])


def test_uniformity_is_that_of_centroids_and_spares_one_recording():
    groups = [0, 1, 1, 2]
    vectors, pairs = made(groups, [True] * 4)
    centroids = F.normalize(vectors, dim=2).mean(dim=0)
    kernel = [
        torch.exp(-2 * (centroids[i] - centroids[j]).square().sum())
        for i in range(4)
        for j in range(i)
        if groups[i] != groups[j]
    ]
    value = pair_loss(read("uniformity"), pairs)
    torch.testing.assert_close(value, torch.stack(kernel).mean().log())


def test_equal_crops_of_orthogonal_recordings_have_a_closed_form():
    eye, n = torch.eye(6), 6
    pairs = Pairs(eye, eye, torch.ones(6).bool(), torch.arange(6), CosineSimilarity(), 0.5)
    value = float(pair_loss(read("nt_xent"), pairs))
    assert value == pytest.approx(math.log(1 + (2 * n - 2) * math.exp(-2)))
    assert float(pairs.accuracy) == 1.0


def test_without_a_positive_that_sounds_nothing_is_learnt():
    vectors, pairs = made([0, 1, 2], [False] * 3)
    value = pair_loss(read("dcl"), pairs)
    (gradient,) = torch.autograd.grad(value, vectors)
    assert value.item() == 0.0
    assert (gradient == 0.0).all()


@pytest.mark.parametrize("loss", LOSSES[1:])
def test_a_batch_of_one_recording_is_refused_by_name(loss):
    config = read(loss)
    _, pairs = made([3, 3, 3], [True] * 3)
    with pytest.raises(UserError, match=rf"loss {config.kind}: a batch of 3 pairs is of one rec"):
        pair_loss(config, pairs)


def test_accuracy_is_that_of_all_scores():
    torch.manual_seed(4)
    active = torch.tensor([True, False, True, True, False, True])
    anchors, positives = torch.randn(6, 3), torch.randn(6, 3)
    positives = positives + 2 * anchors
    similarity = BilinearSimilarity(3)
    pairs = Pairs(anchors, positives, active, torch.arange(6), similarity, 1.0)
    null = positives[~active].mean(dim=0, keepdim=True)
    scores = similarity(anchors, torch.cat([positives, null]))
    scores[:, :6] = scores[:, :6].masked_fill(~active, -math.inf)
    targets = torch.where(active, torch.arange(6), 6)
    expected = (scores.argmax(dim=1) == targets).float().mean()
    assert 0 < expected < 1
    assert pairs.accuracy == expected


def test_what_does_not_fit_is_refused():
    with pytest.raises(UserError, match="loss nt_xent needs cosines: set similarity: cosine"):
        ColaConfig(loss=read("nt_xent"))
    with pytest.raises(UserError, match="similarity bilinear has no temperature"):
        ColaConfig(temperature=TemperatureCycle())
    with pytest.raises(UserError, match=r"unknown 'infonce'; did you mean 'info_nce'"):
        read("infonce")


def _batch(rows):
    torch.manual_seed(7)
    waveforms, active = torch.randn(2, rows, 8000).double() / 100, torch.arange(rows) % 3 != 1
    parts = (*waveforms, active, torch.arange(rows) // 2)
    return ViewBatch(*(distributed.own_rows(part) for part in parts))


def _loss_and_gradients(kind, loss):
    torch.manual_seed(1)
    config = (ColaConfig if kind == "cola" else SourceAssociationConfig)(
        loss=read(loss), similarity="cosine", noise=0.0, projection_dim=8,
        exclude_same_recording=kind == "cola", temperature=TemperatureCycle(period=8),
    )  # fmt: skip
    method = build_method(config, EfficientNet(TINY)).double()
    model = distributed.parallel(method, torch.device("cpu"))
    losses = model(_batch(8), 1, torch.Generator())
    losses.total.backward()
    figures = torch.stack([losses.total.detach(), losses.metrics["accuracy"].double()])
    return distributed.mean(figures), [p.grad for p in method.parameters()]


@pytest.mark.parametrize("kind", ["cola", "source_association"])
@pytest.mark.parametrize("loss", LOSSES)
def test_one_process_and_two_have_the_same_loss_and_gradients(two_processes, kind, loss):
    figures, gradients = _loss_and_gradients(kind, loss)
    for other, others in two_processes.run(_loss_and_gradients, kind, loss):
        torch.testing.assert_close(other, figures)
        for mine, theirs in zip(gradients, others, strict=True):
            torch.testing.assert_close(theirs, mine, rtol=1e-6, atol=1e-12)
