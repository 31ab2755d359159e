"""Closed forms of class centers and of the contrast of classes."""

import math

import pytest
import torch
from torch.nn import functional as F

from audiossl.losses.class_centers import assigned_centers, center_losses, supervised_contrast
from audiossl.nn.simplex import simplex_centers


def unit(*shape):
    return F.normalize(torch.randn(*shape, dtype=torch.float64), dim=-1)


@pytest.mark.parametrize("num_classes", [2, 5])
def test_vectors_at_their_centers_have_the_least_loss_in_closed_form(num_classes):
    centers = simplex_centers(num_classes, 8).double()
    classes = torch.arange(num_classes)
    value = center_losses(centers, classes, centers, temperature=0.5)
    others = (num_classes - 1) * math.exp((-1 / (num_classes - 1) - 1) / 0.5)
    torch.testing.assert_close(value, torch.full_like(value, math.log1p(others)))
    elsewhere = center_losses(unit(num_classes, 8), classes, centers, temperature=0.5)
    assert (elsewhere > value).all()


def test_contrast_of_classes_is_the_formula_vector_by_vector():
    vectors, queue = unit(4, 6), unit(9, 6)
    classes = torch.tensor([0, 1, 2, 3])
    queued = torch.tensor([0, 1, 1, 2, 0, 2, 2, 1, 0])
    value = supervised_contrast(vectors, classes, queue, queued, temperature=0.3)
    for row in range(4):
        terms = (vectors[row] @ queue.T / 0.3).exp()
        own = [-math.log(terms[n] / terms.sum()) for n in range(9) if queued[n] == classes[row]]
        assert float(value[row]) == pytest.approx(sum(own) / len(own) if own else 0.0)


def test_an_empty_queue_contrasts_nothing():
    vectors = unit(3, 2).requires_grad_()
    nothing = torch.zeros(0, dtype=torch.int64)
    value = supervised_contrast(vectors, torch.tensor([0, 1, 1]), unit(0, 2), nothing)
    assert value.tolist() == [0.0] * 3
    value.sum().backward()
    assert not vectors.grad.any()


def test_classes_have_the_centers_that_they_are_at_each_once():
    centers = simplex_centers(5, 4)
    order = torch.tensor([3, 0, 4, 1, 2])
    means = 0.7 * centers[order] + 0.05 * torch.randn(5, 4)
    assert assigned_centers(means, centers).tolist() == order.tolist()
    # Two classes that are at one center get two.
    assert sorted(assigned_centers(centers[[0, 0, 1, 2, 3]], centers).tolist()) == [0, 1, 2, 3, 4]
