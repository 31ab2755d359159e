"""Training of the direct-sum quantizer: small codebooks first, then their products.

Phase one learns twice as many codebooks of 16 entries; phase two starts from the products of pairs,
256 entries each, and goes on at half the learning rate. Defaults are those of the public
`multi_quantization` library; SPEAR's scripts take 35 000 steps a phase.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from audiossl.configs import Count, Nonnegative, Positive, Whole
from audiossl.errors import UserError
from audiossl.quantization.direct_sum import DirectSumLosses, DirectSumQuantizer
from audiossl.quantization.frame_batches import FrameBatches

SMALL_CODEBOOK = 16


@dataclass(frozen=True, kw_only=True)
class DirectSumConfig:
    """A direct-sum quantizer with codebooks of 256 entries, and its training."""

    kind: Literal["direct_sum"] = "direct_sum"
    num_codebooks: Count = 16
    """Number of codebooks, and so of bytes a frame: a power of two."""
    phase_steps: tuple[Whole, Whole] = (10_000, 10_000)
    """Number of steps of the two phases. The public library takes one more in phase one, whose end
    it looks for after a step."""
    batch_size: Count = 1024
    """Number of frames in a batch."""
    learning_rate: Positive = 0.005
    """Learning rate of phase one at its start; halved for phase two, and after each quarter of a
    phase."""
    entropy_weight: Nonnegative = 0.01
    """Weight of the entropy loss, which pulls towards even use of all entries."""
    seed: Whole = 0
    """Random seed of the first entries, the order of frames, and the number of passes of each
    step."""

    @property
    def total_steps(self) -> int:
        """Steps of the whole training."""
        return sum(self.phase_steps)


@dataclass
class DirectSumTraining:
    """What must survive a crash."""

    step: int
    """Steps done."""
    quantizer: DirectSumQuantizer
    """Quantizer in training: with 16 entries a codebook in phase one, 256 in phase two."""
    optimizer: torch.optim.Adam
    """A new one in each phase."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers from which `restore` goes on."""
        return {
            "step": self.step,
            "quantizer": self.quantizer.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }


def begin(dim: int, config: DirectSumConfig, device: torch.device | str) -> DirectSumTraining:
    """Start phase one with random entries."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        quantizer = DirectSumQuantizer(dim, 2 * config.num_codebooks, SMALL_CODEBOOK)
    return _with_optimizer(0, quantizer.to(device))


def restore(
    dim: int, config: DirectSumConfig, state: dict[str, Any], device: torch.device | str
) -> DirectSumTraining:
    """Go on from a `state_dict` of an earlier training with the same settings."""
    training = begin(dim, config, device)
    if state["step"] >= config.phase_steps[0]:
        training = _with_optimizer(0, training.quantizer.with_paired_codebooks())
    training.quantizer.load_state_dict(state["quantizer"])
    training.optimizer.load_state_dict(state["optimizer"])
    training.step = state["step"]
    return training


def train_direct_sum(
    batches: FrameBatches,
    config: DirectSumConfig,
    training: DirectSumTraining | None = None,
    *,
    num_steps: int | None = None,
    report: Callable[[int, DirectSumLosses], None] | None = None,
) -> DirectSumTraining:
    """Train until both phases are done, or for `num_steps`.

    It takes minutes on one device, so that several ranks would not share the work: let the first
    train while the others wait.

    Args:
        batches: The frames.
        config: What is trained.
        training: Where an earlier call stopped; None starts.
        num_steps: Steps to do now; None does all that are left.
        report: Called with the number and the losses of each step.

    Returns:
        The training; its `quantizer` is in evaluation mode and done once `step` is
        `config.total_steps`.

    Raises:
        UserError: The loss is not finite.

    Example:
        >>> frames = np.random.default_rng(0).random((64, 4), np.float32)
        >>> config = DirectSumConfig(num_codebooks=2, phase_steps=(2, 2), batch_size=16)
        >>> train_direct_sum(FrameBatches(frames, 16, seed=0), config).step
        4
    """
    training = training or begin(batches.dim, config, batches.device)
    training.quantizer.check_dim(batches.dim)
    end = config.total_steps
    if num_steps is not None:
        end = min(end, training.step + num_steps)
    training.quantizer.train()
    while training.step < end:
        losses = _update(training, batches.batch(training.step), config)
        if report is not None:
            report(training.step, losses)
        training.step += 1
        if training.step == config.phase_steps[0]:
            pairs = training.quantizer.with_paired_codebooks().train()
            training = _with_optimizer(training.step, pairs)
    training.quantizer.eval()
    return training


def _with_optimizer(step: int, quantizer: DirectSumQuantizer) -> DirectSumTraining:
    optimizer = torch.optim.Adam(
        quantizer.parameters(), lr=0.0, betas=(0.9, 0.98), eps=1e-9, weight_decay=1e-6
    )
    return DirectSumTraining(step, quantizer, optimizer)


def _update(
    training: DirectSumTraining, frames: Tensor, config: DirectSumConfig
) -> DirectSumLosses:
    passes = 1 + int(np.random.default_rng((config.seed, training.step)).random() < 0.5)
    losses = training.quantizer.losses(frames, refinements=passes)
    loss = losses.total(config.entropy_weight)
    if not torch.isfinite(loss):
        raise UserError(
            f"quantizer training: the loss is {loss.item()} at step {training.step}; "
            "lower learning_rate, or standardize the frames"
        )
    training.optimizer.zero_grad()
    loss.backward()
    for group in training.optimizer.param_groups:
        group["lr"] = _learning_rate(training.step, config)
    training.optimizer.step()
    return losses.detached()


def _learning_rate(step: int, config: DirectSumConfig) -> float:
    first, second = config.phase_steps
    halvings = 4 * step // first if step < first else 1 + 4 * (step - first) // second
    return config.learning_rate * 0.5**halvings
