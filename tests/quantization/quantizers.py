"""One small quantizer of each kind, and frames for them."""

import torch

from audiossl.quantization.direct_sum import DirectSumQuantizer
from audiossl.quantization.ema_codebook import EmaCodebook
from audiossl.quantization.kmeans import KMeansQuantizer
from audiossl.quantization.random_projection import RandomProjectionQuantizer
from audiossl.quantization.residual import ResidualQuantizer
from audiossl.quantization.standardized import Standardized

DIM = 12


def one_of_each():
    torch.manual_seed(1)
    direct_sum = DirectSumQuantizer(DIM, 4, 16).eval()
    return [
        direct_sum,
        KMeansQuantizer.from_entries(torch.randn(20, DIM)),
        ResidualQuantizer.from_entries(torch.randn(3, 20, DIM)),
        EmaCodebook(DIM, 300),
        RandomProjectionQuantizer(DIM, num_codebooks=2, codebook_size=50, projected_dim=6),
        Standardized(direct_sum, torch.randn(DIM), torch.rand(DIM) + 0.5),
    ]


def frames(*shape):
    return torch.randn(*shape, DIM, generator=torch.Generator().manual_seed(2))
