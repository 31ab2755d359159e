"""Closed forms of views that teach each other."""

import math

import pytest
import torch

from audiossl.losses.consistency import mutual_divergence


def test_one_of_two_classes_is_a_sigmoid_of_one():
    first, second = torch.randn(2, 30).double()
    plain = mutual_divergence(
        torch.stack([first, torch.zeros(30)], dim=1), torch.stack([second, torch.zeros(30)], dim=1),
        exclusive=True, confidence=0.6,
    )  # fmt: skip
    sigmoid = mutual_divergence(first[:, None], second[:, None], exclusive=False, confidence=0.6)
    torch.testing.assert_close(plain, sigmoid)


@pytest.mark.parametrize("exclusive", [True, False])
def test_it_is_kl_both_ways_and_nothing_where_views_agree(exclusive):
    shares = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]).double()
    scores = shares.log() if exclusive else shares.logit()
    value = mutual_divergence(scores[:1], scores[1:], exclusive=exclusive, confidence=0.0)
    p, q = shares.tolist()
    if exclusive:
        expected = sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))
    else:
        parts = zip(p, q, strict=True)
        expected = sum((a - b) * (math.log(a / b) - math.log((1 - a) / (1 - b))) for a, b in parts)
        expected /= 3
    assert value.tolist() == pytest.approx([expected])
    same = mutual_divergence(scores, scores, exclusive=exclusive)
    torch.testing.assert_close(same, torch.zeros(2).double(), atol=1e-12, rtol=0)


@pytest.mark.parametrize("exclusive", [True, False])
def test_only_who_is_sure_teaches_and_only_the_other_learns(exclusive):
    sure = torch.tensor([[3.0, -3.0, -3.0]], requires_grad=True)
    unsure = torch.tensor([[0.1, 0.0, 0.0]], requires_grad=True)
    mutual_divergence(sure, unsure, exclusive=exclusive, confidence=0.65).sum().backward()
    assert not sure.grad.any()
    # What it is sure of grows.
    assert unsure.grad[0, 0] < 0 < unsure.grad[0, 1]


def test_names_of_classes_do_not_matter():
    first, second = torch.randn(2, 6, 4)
    order = torch.tensor([2, 0, 3, 1])
    for exclusive in (True, False):
        value = mutual_divergence(first, second, exclusive=exclusive)
        again = mutual_divergence(first[:, order], second[:, order], exclusive=exclusive)
        torch.testing.assert_close(again, value)
