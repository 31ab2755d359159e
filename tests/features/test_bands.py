import pytest
import torch

from audiossl.features.bands import blocks, in_bands
from audiossl.features.kaldi_fbank import KaldiFbankConfig
from audiossl.features.kaldi_fbank import mel_bins as kaldi
from audiossl.features.log_mel import LogMelConfig, mel_bands

MATRICES = [
    kaldi(KaldiFbankConfig()),
    kaldi(KaldiFbankConfig(num_bins=23)),
    mel_bands(LogMelConfig()),
    torch.zeros(9, 6),
    torch.rand(5, 3),
]


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("count", [1, 3, 4, 200])
def test_blocks_give_the_product_with_the_whole_matrix(matrix, count):
    spectra = torch.rand(2, 7, len(matrix), dtype=matrix.dtype)
    found = in_bands(spectra, matrix, blocks(matrix, count))
    torch.testing.assert_close(found, spectra @ matrix, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("matrix", MATRICES[:3])
def test_blocks_leave_out_more_than_half_of_a_filter_bank(matrix):
    sizes = [matrix[part].numel() for part in blocks(matrix)]
    assert sum(sizes) < 0.5 * matrix.numel()
