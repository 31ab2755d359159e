"""Closed forms and oracles of contrastive losses (SimCLR, DCL, DCLW)."""

import math

import pytest
import torch
from torch.nn import functional as F

from audiossl.losses import contrast
from audiossl.losses.contrast import (
    cross_entropy,
    decoupled,
    decoupling_weights,
    log_negatives,
)
from audiossl.losses.info_nce import info_nce


def unit(*shape: int) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, dtype=torch.float64), dim=-1)


def both_views(first, second, temperature, chunk=1024):
    """Positive scores and negatives of the 2n anchors of SimCLR."""
    anchors, candidates = torch.cat([first, second]), torch.cat([first, second])
    pairs = torch.arange(len(first)).repeat(2)
    positives = (first * second).sum(dim=1).repeat(2) / temperature
    return positives, log_negatives(anchors / temperature, candidates, pairs, pairs, chunk=chunk)


def nt_xent_by_loops(first, second, temperature, *, with_positive=True):
    """Formula of the paper, term by term."""
    views = torch.stack([first, second])
    losses = []
    for k in range(2):
        for i in range(len(first)):
            positive = views[k, i] @ views[1 - k, i] / temperature
            others = [
                torch.exp(views[k, i] @ views[view, j] / temperature)
                for view in range(2)
                for j in range(len(first))
                if j != i
            ]
            total = sum(others) + (torch.exp(positive) if with_positive else 0.0)
            losses.append(torch.log(total) - positive)
    return torch.stack(losses)


def test_nt_xent_is_the_formula():
    first, second = unit(6, 5), unit(6, 5)
    value = cross_entropy(*both_views(first, second, 0.3))
    torch.testing.assert_close(value, nt_xent_by_loops(first, second, 0.3))


@pytest.mark.parametrize("chunk", [3, 1024])
@pytest.mark.parametrize("number", [torch.float32, torch.bfloat16])
def test_autocast_and_short_numbers_change_no_sum(chunk, number):
    vectors = [unit(6, 5).to(number).requires_grad_() for _ in range(2)]
    pairs, values = torch.arange(6), []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            values.append(log_negatives(*vectors, pairs, pairs, chunk=chunk))
    assert values[0].dtype == torch.float32
    plain, cast = (torch.autograd.grad(value.sum(), vectors) for value in values)
    torch.testing.assert_close((values[1], *cast), (values[0], *plain), rtol=0, atol=0)
    doubled = log_negatives(*(v.detach().double() for v in vectors), pairs, pairs)
    torch.testing.assert_close(values[0].double(), doubled, rtol=1e-6, atol=1e-6)


def test_decoupled_is_nt_xent_without_the_positive():
    first, second = unit(6, 5), unit(6, 5)
    value = decoupled(*both_views(first, second, 0.1))
    expected = nt_xent_by_loops(first, second, 0.1, with_positive=False)
    torch.testing.assert_close(value, expected)


def test_one_view_is_info_nce():
    anchors, positives, pairs = unit(5, 4), unit(5, 4), torch.arange(5)
    own = (anchors * positives).sum(dim=1)
    value = cross_entropy(own, log_negatives(anchors, positives, pairs, pairs)).mean()
    torch.testing.assert_close(value, info_nce(anchors @ positives.T))


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_equal_views_of_orthogonal_clips_have_a_closed_form(temperature):
    n = 7
    vectors = torch.eye(n, dtype=torch.float64)
    value = cross_entropy(*both_views(vectors, vectors, temperature)).mean()
    expected = math.log(1 + (2 * n - 2) * math.exp(-1 / temperature))
    assert value.item() == pytest.approx(expected, rel=1e-12)


def test_gradient_of_the_decoupled_positive_does_not_depend_on_difficulty():
    positives = torch.tensor([-3.0, 0.0, 9.0], requires_grad=True)
    decoupled(positives, torch.tensor([1.0, 2.0, -50.0])).sum().backward()
    assert positives.grad.tolist() == [-1.0, -1.0, -1.0]


def test_weights_are_higher_for_dissimilar_pairs_detached_and_of_mean_one():
    cosines = torch.tensor([0.9, 0.5, 0.1], dtype=torch.float64, requires_grad=True)
    weights = decoupling_weights(cosines)
    assert not weights.requires_grad
    assert weights.tolist() == sorted(weights.tolist())
    assert weights.mean().item() == pytest.approx(1.0)
    assert decoupling_weights(torch.tensor([1.0, -1.0, -1.0, -1.0, -1.0]))[0] == 0.0


@pytest.mark.parametrize("rows", [1, 3, 512])
@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_chunks_change_neither_value_nor_gradient(monkeypatch, chunk, rows):
    monkeypatch.setattr(contrast, "ROWS", rows)
    groups, candidate_groups = torch.tensor([0, 1, 1, 5]), torch.tensor([0, 1, 2, 2, 1, 7, 0])
    anchors = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    candidates = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)

    def in_chunks(a, c):
        return log_negatives(a, c, groups, candidate_groups, chunk=chunk)

    same = groups[:, None] == candidate_groups
    plain = (anchors @ candidates.T).masked_fill(same, -math.inf).logsumexp(dim=1)
    torch.testing.assert_close(in_chunks(anchors, candidates), plain)
    assert torch.autograd.gradcheck(in_chunks, (anchors, candidates))


def test_an_anchor_without_negatives_has_no_gradient():
    anchors = torch.randn(2, 3, requires_grad=True)
    groups = torch.tensor([0, 1])
    value = log_negatives(anchors, torch.randn(2, 3), groups, torch.zeros(2, dtype=torch.long))
    assert value[0] == -math.inf
    cross_entropy(torch.ones(2), value).sum().backward()
    assert anchors.grad[0].tolist() == [0.0, 0.0, 0.0]
    assert torch.isfinite(anchors.grad).all()


def test_chunks_bound_the_memory_of_scores():
    """No tensor of batch x candidates is ever made."""
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = 0

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                largest = max(largest, result.numel())
            return result

    anchors = torch.randn(512, 4, requires_grad=True)
    pairs = torch.arange(512)
    with Sizes():
        log_negatives(anchors, torch.randn(512, 4), pairs, pairs, chunk=16).sum().backward()
    assert largest <= 512 * 16
