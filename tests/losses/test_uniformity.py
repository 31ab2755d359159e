"""Closed forms of decoupled uniformity and of its kernel."""

import math

import pytest
import torch
from torch.nn import functional as F

from audiossl.errors import UserError
from audiossl.losses.uniformity import decoupled_uniformity, gaussian_kernel, smoothed


def test_uniformity_is_the_formula():
    centroids = torch.randn(5, 3, dtype=torch.float64)
    terms = [
        math.exp(-2 * float((centroids[i] - centroids[j]).square().sum()))
        for i in range(5)
        for j in range(i)
    ]
    expected = math.log(2 / (5 * 4) * sum(terms))
    assert decoupled_uniformity(centroids).item() == pytest.approx(expected, rel=1e-12)


def test_views_that_disagree_cannot_be_spread():
    """The loss is lower where the views of each clip agree, without a term of alignment."""
    first = F.normalize(torch.randn(32, 64), dim=1)
    other = F.normalize(torch.randn(32, 64), dim=1)
    assert decoupled_uniformity(first) < decoupled_uniformity((first + other) / 2)


def test_an_identity_kernel_shrinks_and_a_constant_prior_joins():
    centroids = torch.randn(6, 4, dtype=torch.float64)
    priors = torch.arange(6, dtype=torch.float64)[:, None]
    narrow = gaussian_kernel(priors, width=1e-3)
    torch.testing.assert_close(smoothed(centroids, narrow), centroids / 1.01)
    joined = smoothed(centroids, gaussian_kernel(torch.zeros(6, 2), width=1.0).double())
    torch.testing.assert_close(joined, joined[:1].expand(6, 4))
    assert decoupled_uniformity(joined).item() == pytest.approx(0.0, abs=1e-12)


def test_the_kernel_carries_no_gradient():
    priors = torch.randn(4, 2, requires_grad=True)
    centroids = torch.randn(4, 3, requires_grad=True)
    decoupled_uniformity(smoothed(centroids, gaussian_kernel(priors))).backward()
    assert centroids.grad is not None
    assert priors.grad is None


def test_priors_that_tell_nothing_apart_are_refused():
    with pytest.raises(UserError, match="the same"):
        gaussian_kernel(torch.ones(5, 2))
    with pytest.raises(UserError, match="finite"):
        gaussian_kernel(torch.tensor([[0.0], [math.nan]]))
