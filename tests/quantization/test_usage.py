import math

import multi_quantization
import torch

from audiossl.quantization.usage import code_usage, codebook_correlation, count_codes


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
    assert usage.largest_share.tolist() == [0.25, 1.0, 0.5]


def test_correlation_is_the_librarys():
    library = multi_quantization.Quantizer(10, 16, 4)
    expected = library.compute_codebook_correlations()
    torch.testing.assert_close(codebook_correlation(library.get_centers().detach()), expected)


def test_correlation_of_orthogonal_subspaces_is_zero_and_with_oneself_one():
    entries = torch.zeros(2, 8, 6)
    entries[0, :, :3], entries[1, :, 3:] = torch.randn(8, 3), torch.randn(8, 3)
    torch.testing.assert_close(codebook_correlation(entries), torch.eye(2))
