"""From a config to a trained quantizer, step by step, whatever its kind."""

from typing import Any

import torch
from typing_extensions import assert_never

from audiossl.quantization.direct_sum_training import (
    DirectSumConfig,
    DirectSumTraining,
    restore,
    train_direct_sum,
)
from audiossl.quantization.frame_batches import FrameBatches
from audiossl.quantization.kmeans import KMeansConfig, KMeansTraining, train_kmeans
from audiossl.quantization.residual import ResidualConfig, ResidualTraining, train_residual

QuantizerConfig = DirectSumConfig | KMeansConfig | ResidualConfig
Training = DirectSumTraining | KMeansTraining | ResidualTraining


def batches_for(
    config: QuantizerConfig, frames: Any, device: torch.device | str = "cpu"
) -> FrameBatches:
    """Plan the batches that `config` asks for.

    Args:
        config: What is trained.
        frames: (frames, dim), an array or a memory map.
        device: Where the training runs.
    """
    learner = config.codebook if isinstance(config, ResidualConfig) else config
    return FrameBatches(frames, learner.batch_size, seed=learner.seed, device=device)


def train_quantizer(
    batches: FrameBatches,
    config: QuantizerConfig,
    state: dict[str, Any] | None = None,
    *,
    num_steps: int | None = None,
) -> Training:
    """Train until the end, or for `num_steps`; state in, state out.

    Args:
        batches: The frames.
        config: What is trained.
        state: `state_dict()` of the training so far, as read back from disk; None starts.
        num_steps: Steps to do now; None does all that are left.

    Returns:
        The training: `state_dict()` to go on from, `quantizer` as it is now, and `step`, which is
        `config.total_steps` once it is complete.

    Example:
        >>> import numpy as np
        >>> config = KMeansConfig(codebook_size=2, num_steps=3, batch_size=8)
        >>> frames = np.float32([[0.0], [0.1], [9.9], [10.0]])
        >>> training = train_quantizer(batches_for(config, frames), config)
        >>> training.step, sorted(training.quantizer.entries.round().flatten().tolist())
        (3, [0.0, 10.0])
    """
    match config:
        case DirectSumConfig():
            begun = None if state is None else restore(batches.dim, config, state, batches.device)
            return train_direct_sum(batches, config, begun, num_steps=num_steps)
        case KMeansConfig():
            centroids = None if state is None else KMeansTraining(**state)
            return train_kmeans(batches, config, centroids, num_steps=num_steps)
        case ResidualConfig():
            books = None if state is None else ResidualTraining.restore(state)
            return train_residual(batches, config, books, num_steps=num_steps)
        case _:
            assert_never(config)
