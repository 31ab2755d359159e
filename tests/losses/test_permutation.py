from itertools import permutations

import torch
from torch.nn import functional as F

from audiossl.losses.permutation import permutation_free


def test_it_is_the_least_over_all_orders_of_speakers():
    torch.manual_seed(0)
    scores, targets = torch.randn(4, 9, 3), torch.randint(0, 2, (4, 9, 3)).float()
    valid = torch.arange(9) < torch.tensor([9, 5, 1, 0])[:, None]
    orders = [
        (F.binary_cross_entropy_with_logits(scores, targets[..., order], reduction="none")
         * valid[..., None]).sum(dim=(1, 2))
        for order in permutations(range(3))
    ]  # fmt: skip
    expected = torch.stack(orders).amin(dim=0)
    torch.testing.assert_close(permutation_free(scores, targets, valid), expected)


def test_padding_has_no_gradient_even_where_it_is_infinite():
    scores = torch.tensor([[[1.0], [torch.inf]]], requires_grad=True)
    valid = torch.tensor([[True, False]])
    permutation_free(scores, torch.ones(1, 2, 1), valid).sum().backward()
    assert scores.grad.isfinite().all()
    assert scores.grad[0, 1] == 0
