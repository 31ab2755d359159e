"""NT-Xent of a batch, forward and backward, against the losses that people import."""

import pytest
import torch

from audiossl.losses.contrast import cross_entropy
from audiossl.losses.pairs import Pairs, both_ways
from audiossl.nn.similarity import CosineSimilarity
from tests.benchmarks.rounds import compare

DIM, TEMPERATURE = 128, 0.1


def lightly():
    return pytest.importorskip("lightly.loss").NTXentLoss(TEMPERATURE)


def pytorch_metric_learning():
    loss = pytest.importorskip("pytorch_metric_learning.losses").NTXentLoss(TEMPERATURE)

    def of_pairs(anchors, positives):
        labels = torch.arange(len(anchors)).repeat(2)
        return loss(torch.cat([anchors, positives]), labels)

    return of_pairs


def ours(anchors, positives):
    pairs = torch.arange(len(anchors))
    views = Pairs(anchors, positives, None, pairs, CosineSimilarity(), TEMPERATURE)
    return both_ways(views, cross_entropy)


@pytest.mark.parametrize(
    ("count", "peer", "rounds"),
    [(256, lightly, 9), (1024, lightly, 5), (4096, lightly, 3), (256, pytorch_metric_learning, 3)],
)
def test_nt_xent(count, peer, rounds):
    anchors, positives = (torch.randn(count, DIM, requires_grad=True) for _ in range(2))
    theirs = peer()

    def step(loss):
        value = loss(anchors, positives)
        return value, *torch.autograd.grad(value, (anchors, positives))

    for own, its in zip(step(ours), step(theirs), strict=True):
        torch.testing.assert_close(own, its, rtol=1e-4, atol=1e-6)
    name = peer.__name__.replace("_", "-")
    ratio = compare(
        f"NT-Xent, forward and backward, {count} pairs, against {name}",
        lambda: step(ours), lambda: step(theirs), rounds=rounds, goal=1.0,
        floor="three products of candidates a side; the rest is exponentials",
    )  # fmt: skip
    assert ratio > 0.9
