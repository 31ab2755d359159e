"""Contrast in time against its formula, frame by frame."""

import math

import pytest
import torch
from torch.nn import functional as F

from audiossl.losses.time_contrast import time_contrast


def by_loops(first, second, valid, guard, temperature):
    losses = torch.zeros(first.shape[:2], dtype=first.dtype)
    places = [(b, t) for b in range(first.shape[0]) for t in range(first.shape[1]) if valid[b, t]]
    for b, t in places:
        own = math.exp(float(first[b, t] @ second[b, t]) / temperature)
        others = sum(
            math.exp(float(first[b, t] @ second[c, u]) / temperature)
            for c, u in places
            if c != b or abs(u - t) >= guard
        )
        losses[b, t] = -math.log(own / (own + others))
    return losses


@pytest.mark.parametrize("guard", [1, 2, 4])
def test_it_is_the_formula_and_padding_counts_nowhere(guard):
    first, second = (F.normalize(torch.randn(3, 6, 4).double(), dim=2) for _ in range(2))
    valid = torch.arange(6) < torch.tensor([6, 4, 1])[:, None]
    value = time_contrast(first, second, valid, guard=guard)
    torch.testing.assert_close(value, by_loops(first, second, valid, guard, 0.1))


def test_aligned_views_cost_less_than_shifted_ones():
    frames = F.normalize(torch.randn(2, 20, 16), dim=2)
    valid = torch.ones(2, 20, dtype=torch.bool)
    aligned = time_contrast(frames, frames, valid).mean()
    assert aligned < time_contrast(frames, frames.roll(3, 1), valid).mean() - 1.0
