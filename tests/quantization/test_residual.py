import numpy as np
import torch

from audiossl.quantization.frame_batches import FrameBatches
from audiossl.quantization.kmeans import KMeansConfig
from audiossl.quantization.residual import (
    ResidualConfig,
    ResidualQuantizer,
    ResidualTraining,
    train_residual,
)

CONFIG = ResidualConfig(
    num_codebooks=3, codebook=KMeansConfig(codebook_size=16, num_steps=10, batch_size=300)
)


def batches():
    generator = np.random.default_rng(0)
    mixing = generator.standard_normal((6, 10))
    frames = np.tanh(generator.standard_normal((1500, 6))) @ mixing
    return FrameBatches(frames.astype(np.float32), 300, seed=0)


def test_each_codebook_approximates_what_is_left():
    trained = train_residual(batches(), CONFIG).quantizer
    frames = batches().batch(0)
    spread = float((frames - frames.mean(0)).square().sum())
    codes = trained.encode(frames).long()
    remaining = frames
    errors = []
    for book in range(3):
        remaining = remaining - trained.entries[book, codes[:, book]]
        errors.append(float(remaining.square().sum()) / spread)
    assert errors[0] < 0.6
    assert errors[1] < 0.7 * errors[0]
    assert errors[2] < 0.8 * errors[1]
    torch.testing.assert_close(frames - trained.decode(codes), remaining, atol=1e-5, rtol=1e-5)


def test_a_resumed_training_equals_an_uninterrupted_one():
    whole = train_residual(batches(), CONFIG).quantizer
    training = None
    for _ in range(5):
        training = train_residual(batches(), CONFIG, training, num_steps=7)
        training = ResidualTraining.restore(training.state_dict())
    assert len(training.finished) == 3
    assert torch.equal(training.quantizer.entries, whole.entries)


def test_one_codebook_is_k_means():
    entries = torch.randn(1, 9, 4)
    frames = torch.randn(30, 4)
    codes = ResidualQuantizer.from_entries(entries).encode(frames)
    assert torch.equal(codes[:, 0].long(), torch.cdist(frames, entries[0]).argmin(1))
