"""Closed forms of model contrast."""

import math

import pytest
import torch
from torch.nn import functional as F

from audiossl.losses.model_contrast import model_contrast


def test_networks_that_are_the_same_pull_nowhere():
    vectors = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    value = model_contrast(vectors, vectors.detach(), vectors.detach())
    assert value.tolist() == pytest.approx([math.log(2)] * 4)
    value.sum().backward()
    torch.testing.assert_close(vectors.grad, torch.zeros_like(vectors), atol=1e-12, rtol=0)


def test_it_is_the_formula():
    vectors, reference, previous = (torch.randn(5, 3, dtype=torch.float64) for _ in range(3))
    near = torch.exp(F.cosine_similarity(vectors, reference) / 0.5)
    far = torch.exp(F.cosine_similarity(vectors, previous) / 0.5)
    expected = -torch.log(near / (near + far))
    torch.testing.assert_close(model_contrast(vectors, reference, previous), expected)


def test_no_gradient_reaches_the_frozen_networks():
    vectors, reference, previous = (torch.randn(5, 3).requires_grad_(True) for _ in range(3))
    model_contrast(vectors, reference, previous).sum().backward()
    assert vectors.grad is not None
    assert reference.grad is previous.grad is None
