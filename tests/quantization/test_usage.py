import math

import torch

from audiossl.quantization.usage import code_usage, count_codes


def test_counts_of_shards_add_up():
    codes = torch.randint(50, (3, 40, 2), dtype=torch.uint8)
    whole = count_codes(codes, 64)
    assert torch.equal(whole, sum(count_codes(part, 64) for part in codes))
    assert whole.shape == (2, 64)
    assert whole[1, 7] == (codes[..., 1] == 7).sum()


def test_perplexity_counts_entries_that_are_used_alike():
    even = torch.tensor([[5, 5, 5, 5, 0, 0], [20, 0, 0, 0, 0, 0], [10, 5, 5, 0, 0, 0]])
    usage = code_usage(even)
    expected = torch.tensor([4.0, 1.0, math.exp(1.5 * math.log(2))], dtype=torch.float64)
    torch.testing.assert_close(usage.code_perplexity, expected)
    assert usage.num_dead.tolist() == [2, 5, 3]
