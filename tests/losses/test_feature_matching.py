import math

import pytest
import torch

from audiossl.losses.feature_matching import feature_matching


def test_the_loss_is_distance_plus_angle():
    predictions = torch.tensor([[[3.0, 4.0], [1.0, 0.0], [2.0, 0.0]]])
    targets = torch.tensor([[[3.0, 4.0], [0.0, 1.0], [-2.0, 0.0]]])
    for row, square, absolute, cosine in ((0, 0, 0, 1), (1, 1, 1, 0), (2, 8, 2, -1)):
        valid = torch.arange(3)[None] == row
        loss, found = feature_matching(predictions, targets, valid, angle_weight=0.5)
        assert loss.item() == pytest.approx(square + 0.5 * (1 - cosine), abs=1e-6)
        assert found.item() == pytest.approx(cosine, abs=1e-6)
        loss, _ = feature_matching(
            predictions, targets, valid, distance="absolute", angle_weight=0.0
        )
        assert loss.item() == pytest.approx(absolute, abs=1e-6)


def test_what_is_not_valid_changes_neither_loss_nor_gradient():
    predictions = torch.randn(2, 4, 3, requires_grad=True)
    targets = torch.randn(2, 4, 3)
    valid = torch.tensor([[True, True, False, False], [True, False, False, False]])
    loss, _ = feature_matching(predictions, targets, valid)
    (gradient,) = torch.autograd.grad(loss, predictions)
    assert (gradient[~valid] == 0).all()
    spoiled = targets.masked_fill(~valid[..., None], math.nan)
    assert feature_matching(predictions, spoiled, valid)[0] == loss
    nothing, cosine = feature_matching(predictions, targets, torch.zeros_like(valid))
    assert nothing == cosine == 0
