"""Corners of a simplex."""

import pytest
import torch

from audiossl.errors import UserError
from audiossl.nn.simplex import simplex_centers


@pytest.mark.parametrize(("classes", "dim"), [(2, 1), (2, 8), (5, 4), (10, 128)])
def test_cosines_are_equal_and_as_small_as_can_be(classes, dim):
    centers = simplex_centers(classes, dim)
    expected = torch.full((classes, classes), -1 / (classes - 1)).fill_diagonal_(1.0)
    torch.testing.assert_close(centers @ centers.T, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("classes", "dim"), [(1, 4), (6, 4)])
def test_more_classes_than_fit_are_refused(classes, dim):
    with pytest.raises(UserError, match="classes"):
        simplex_centers(classes, dim)
