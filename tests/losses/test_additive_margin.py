import math

import torch
from torch.nn import functional as F

from audiossl.losses.additive_margin import additive_margin


def test_is_the_papers_formula():
    cosines, classes, scale, margin = torch.rand(4, 5).double(), [3, 0, 0, 2], 30.0, 0.4
    terms = []
    for row, own in zip(cosines.tolist(), classes, strict=True):
        right = math.exp(scale * (row[own] - margin))
        others = sum(math.exp(scale * cosine) for n, cosine in enumerate(row) if n != own)
        terms.append(-math.log(right / (right + others)))
    found = additive_margin(cosines, torch.tensor(classes), scale=scale, margin=margin)
    torch.testing.assert_close(found, torch.tensor(sum(terms) / 4).double())


def test_without_margin_it_is_the_cross_entropy_of_scaled_cosines():
    cosines, classes = torch.rand(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    found = additive_margin(cosines, classes, scale=7.0, margin=0.0)
    torch.testing.assert_close(found, F.cross_entropy(7.0 * cosines, classes))
    assert additive_margin(cosines, classes, scale=7.0, margin=0.1) > found
