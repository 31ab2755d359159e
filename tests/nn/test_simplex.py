"""Corners of a simplex."""

import pytest
import torch

from audiossl.errors import UserError
from audiossl.nn.simplex import simplex_centers


@pytest.mark.parametrize(("num_classes", "dim"), [(2, 1), (2, 8), (5, 4), (10, 128)])
def test_cosines_are_equal_and_as_small_as_can_be(num_classes, dim):
    centers = simplex_centers(num_classes, dim)
    expected = torch.full((num_classes, num_classes), -1 / (num_classes - 1)).fill_diagonal_(1.0)
    torch.testing.assert_close(centers @ centers.T, expected, atol=1e-6, rtol=0)
    # Unit vectors have a mean cosine of -1 / (n - 1) at least, where their sum is 0.
    torch.testing.assert_close(centers.sum(dim=0), torch.zeros(dim), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("num_classes", "dim", "words"), [(1, 4, "nothing to tell apart"), (6, 4, "give 5 dimensions")]
)
def test_a_number_of_classes_without_a_simplex_is_refused(num_classes, dim, words):
    with pytest.raises(UserError, match=words):
        simplex_centers(num_classes, dim)
