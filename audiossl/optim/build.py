"""From a config to an optimizer, and to the rate it uses at each step."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import nn
from typing_extensions import assert_never

from audiossl.optim.eden import EdenConfig
from audiossl.optim.scaled_adam import ScaledAdam
from audiossl.optim.schedules import ConstantConfig, ScheduleConfig


@dataclass(frozen=True, kw_only=True)
class AdamWConfig:
    """AdamW; without decay it is Adam."""

    kind: Literal["adamw"] = "adamw"
    rate: float = 1e-3
    """Base learning rate."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decays of the first and second moment."""
    epsilon: float = 1e-7
    """Added to the root of the second moment; 1e-7 is TensorFlow's."""
    decay: float = 0.0
    """Decoupled weight decay of matrices and filters; biases and norms have none."""
    clip_norm: float | None = None
    """Gradients are scaled down to at most this norm."""
    schedule: ScheduleConfig = ConstantConfig()
    """Factor of the rate at each step."""


@dataclass(frozen=True, kw_only=True)
class ScaledAdamConfig:
    """ScaledAdam, whose updates are relative to the size of each tensor; for Zipformers."""

    kind: Literal["scaled_adam"] = "scaled_adam"
    rate: float = 0.045
    """Base learning rate; large beside Adam's, because it is relative."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Decays of the first and second moment."""
    clipping_scale: float | None = 2.0
    """Norms of gradients, relative to the sizes of tensors, are clipped at this multiple of the
    median of the last hundred."""
    clip_norm: float | None = None
    """Gradients are scaled down to at most this norm before that."""
    schedule: ScheduleConfig = EdenConfig()
    """Factor of the rate at each step."""


OptimizerConfig: TypeAlias = AdamWConfig | ScaledAdamConfig


def build_optimizer(config: OptimizerConfig, module: nn.Module) -> torch.optim.Optimizer:
    """Make the optimizer of every parameter of `module` that is trained."""
    trained = [p for p in module.parameters() if p.requires_grad]
    match config:
        case AdamWConfig():
            return _adamw(config, trained)
        case ScaledAdamConfig():
            return ScaledAdam(
                trained, config.rate, clipping_scale=config.clipping_scale, betas=config.betas
            )
        case _:
            assert_never(config)


def _adamw(config: AdamWConfig, trained: list[nn.Parameter]) -> torch.optim.AdamW:
    matrices = [p for p in trained if p.dim() > 1]
    vectors = [p for p in trained if p.dim() <= 1]
    groups = [
        {"params": matrices, "weight_decay": config.decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, config.rate, config.betas, config.epsilon)
