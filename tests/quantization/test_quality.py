"""What is left of the frames at equal bits: direct sum, residual, and k-means."""

import pytest
import torch

from audiossl.quantization.direct_sum_training import DirectSumConfig, train_direct_sum
from audiossl.quantization.frame_batches import FrameBatches
from audiossl.quantization.kmeans import KMeansConfig, train_kmeans
from audiossl.quantization.residual import ResidualConfig, train_residual
from tests.quantization.test_direct_sum_training import structured

CODEBOOK = KMeansConfig(codebook_size=256, num_steps=100, batch_size=8192)


def left_over(frames, approximation):
    """Squared error relative to the spread around the mean."""
    return float((frames - approximation).square().sum() / (frames - frames.mean(0)).square().sum())


def product_of_k_means(frames, unseen, num_slices):
    """k-means with a byte a slice of the dimensions: k-means itself cannot have 2^32 centroids."""
    width = frames.shape[1] // num_slices
    parts = []
    for first in range(0, frames.shape[1], width):
        columns = slice(first, first + width)
        trained = train_kmeans(FrameBatches(frames[:, columns], 8192, seed=0), CODEBOOK).quantizer
        parts.append(trained.decode(trained.encode(unseen[:, columns])))
    return torch.cat(parts, dim=1)


@pytest.mark.long
def test_direct_sum_leaves_least_at_equal_bits():
    torch.set_num_threads(1)
    frames, unseen = structured(256 * 1400), torch.from_numpy(structured(10_000, seed=1))
    left = {}
    config = DirectSumConfig(num_codebooks=4, phase_steps=(800, 600), batch_size=256)
    trained = train_direct_sum(FrameBatches(frames, 256, seed=0), config).quantizer
    left["direct sum, 4 x 256"] = left_over(unseen, trained.decode(trained.encode(unseen)))
    residual = train_residual(
        FrameBatches(frames, 8192, seed=0), ResidualConfig(num_codebooks=4, codebook=CODEBOOK)
    ).quantizer
    left["residual, 4 x 256"] = left_over(unseen, residual.decode(residual.encode(unseen)))
    left["k-means, 256 a quarter of the dimensions"] = left_over(
        unseen, product_of_k_means(frames, unseen, 4)
    )
    first = residual.encode(unseen)[:, 0].long()
    one = left_over(unseen, residual.entries[0][first])
    print("\nrelative squared error on unseen structured frames, 32 bits a frame")
    for name, value in left.items():
        print(f"  {name:42} {value:.4f}")
    print(f"  {'(k-means, 256, at 8 bits)':42} {one:.4f}")
    best, *others = left.values()
    assert best < 0.9 * min(others)
