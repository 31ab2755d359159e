"""Contrast in time against its formula, frame by frame."""

import math

import pytest
import torch
from torch.nn import functional as F

from audiossl import distributed
from audiossl.losses.time_contrast import time_contrast

GROUPS = torch.tensor([5, 3, 5, 8])


def by_loops(first, second, valid, guard):
    losses = torch.zeros(first.shape[:2], dtype=first.dtype)
    places = [(b, t) for b in range(first.shape[0]) for t in range(first.shape[1]) if valid[b, t]]
    for b, t in places:
        own = math.exp(float(first[b, t] @ second[b, t]) / 0.1)
        others = sum(
            math.exp(float(first[b, t] @ second[c, u]) / 0.1)
            for c, u in places
            if GROUPS[c] != GROUPS[b] or (c == b and abs(u - t) >= guard)
        )
        losses[b, t] = -math.log(own / (own + others))
    return losses


def made():
    torch.manual_seed(0)
    first, second = (F.normalize(torch.randn(4, 6, 4).double(), dim=2) for _ in range(2))
    return first, second, torch.arange(6) < torch.tensor([6, 4, 1, 2])[:, None]


@pytest.mark.parametrize("guard", [0, 1, 2, 4])
def test_it_is_the_formula_and_padding_counts_nowhere(guard):
    first, second, valid = made()
    value = time_contrast(first, second, valid, GROUPS, guard=guard)
    expected = by_loops(first, second, valid, max(guard, 1))
    torch.testing.assert_close(value, expected)


def _gradients():
    parts = made()
    first, second = (part.requires_grad_(True) for part in parts[:2])
    own = [distributed.own_rows(part) for part in (first, second, parts[2], GROUPS)]
    time_contrast(*own).sum().backward()
    return [distributed.total(vectors.grad) for vectors in (first, second)]


def test_two_ranks_have_the_gradients_of_one(two_processes):
    alone = _gradients()
    for gradients in two_processes.run(_gradients):
        torch.testing.assert_close(gradients, alone)
    assert all(gradient.isfinite().all() for gradient in alone)


def test_a_frame_without_negatives_costs_nothing():
    frames = F.normalize(torch.randn(1, 2, 4), dim=2).requires_grad_(True)
    there, clip = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, dtype=torch.long)
    value = time_contrast(frames, frames, there, clip, guard=2)
    value.sum().backward()
    torch.testing.assert_close(value, torch.zeros(1, 2))
    assert not frames.grad.any()
