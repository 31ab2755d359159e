"""Learning rates as functions of the step: a factor of the base rate."""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from audiossl.configs import Nonnegative, Whole
from audiossl.optim.eden import EdenConfig, eden_factor


@dataclass(frozen=True, kw_only=True)
class ConstantConfig:
    """The base rate throughout, after a linear warm-up."""

    kind: Literal["constant"] = "constant"
    warmup_steps: Whole = 0
    """Number of warm-up steps, in which the rate rises from 0."""


@dataclass(frozen=True, kw_only=True)
class CosineConfig:
    """Linear warm-up, then half a cosine down."""

    kind: Literal["cosine"] = "cosine"
    warmup_steps: Whole = 0
    """Number of warm-up steps, in which the rate rises from 0."""
    final: Nonnegative = 0.0
    """Share of the base rate that is left at the last step."""


@dataclass(frozen=True, kw_only=True)
class HalvedConfig:
    """The base rate, and half of it from the middle of the run on (Garoufis et al. 2023)."""

    kind: Literal["halved"] = "halved"


ScheduleConfig: TypeAlias = ConstantConfig | CosineConfig | HalvedConfig | EdenConfig


def rate_factor(config: ScheduleConfig, step: int, num_steps: int) -> float:
    """Compute the factor of the base rate for the update at `step`, counted from 0."""
    match config:
        case ConstantConfig():
            return _warmed(step, config.warmup_steps)
        case CosineConfig():
            if step < config.warmup_steps:
                return _warmed(step, config.warmup_steps)
            done = (step - config.warmup_steps) / max(1, num_steps - config.warmup_steps)
            fall = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
            return config.final + (1 - config.final) * fall
        case HalvedConfig():
            return 1.0 if step < num_steps // 2 else 0.5
        case EdenConfig():
            return eden_factor(config, step)


def _warmed(step: int, warmup_steps: int) -> float:
    return min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
