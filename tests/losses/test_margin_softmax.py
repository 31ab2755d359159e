import math

import torch

from audiossl.losses.margin_softmax import margin_softmax


def test_is_the_papers_formula():
    scores, margin = torch.randn(5, 5).double(), 0.3
    terms = []
    for i in range(5):
        own = math.exp(float(scores[i, i]) - margin)
        others = sum(math.exp(float(scores[i, j])) for j in range(5) if j != i)
        terms.append(-math.log(own / (own + others)))
    expected = torch.tensor(sum(terms) / 5).double()
    torch.testing.assert_close(margin_softmax(scores, margin=margin), expected)


def test_partners_are_no_negatives_and_a_share_of_the_rows_finds_its_own_columns():
    scores = torch.randn(6, 6)
    concepts = torch.tensor([0, 1, 2, 0, 3, 4])
    excluded = concepts[:, None] == concepts
    whole = margin_softmax(scores, margin=0.1, excluded=excluded)
    halves = [
        margin_softmax(scores[rows], margin=0.1, offset=first, excluded=excluded[rows])
        for first, rows in ((0, slice(3)), (3, slice(3, 6)))
    ]
    torch.testing.assert_close(torch.stack(halves).mean(), whole)
    louder = scores.clone()
    louder[0, 3] = louder[3, 0] = 100.0
    torch.testing.assert_close(margin_softmax(louder, margin=0.1, excluded=excluded), whole)
