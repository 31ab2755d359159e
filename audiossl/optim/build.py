"""From a config to an optimizer, and to the rate it uses at each step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

import torch
from torch import nn
from typing_extensions import assert_never

from audiossl.configs import Nonnegative, Positive, Share
from audiossl.errors import UserError
from audiossl.optim import scaled_adam
from audiossl.optim.eden import EdenConfig
from audiossl.optim.scaled_adam import ScaledAdam
from audiossl.optim.schedules import ConstantConfig, ScheduleConfig

_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True, kw_only=True)
class AdamWConfig:
    """AdamW; without decay it is Adam."""

    kind: Literal["adamw"] = "adamw"
    rate: Nonnegative = 1e-3
    """Base learning rate."""
    betas: tuple[Share, Share] = (0.9, 0.999)
    """Decay rates of the first and second moment."""
    epsilon: Nonnegative = 1e-7
    """Constant added to the root of the second moment; 1e-7 is TensorFlow's."""
    decay: Nonnegative = 0.0
    """Decoupled weight decay of matrices and filters; biases and norms have none."""
    clip_norm: Positive | None = None
    """Maximum norm of the gradient; null disables clipping."""
    schedule: ScheduleConfig = ConstantConfig()
    """Learning rate schedule: factor of the rate at each step."""


@dataclass(frozen=True, kw_only=True)
class ScaledAdamConfig:
    """ScaledAdam, whose updates are relative to the size of each tensor; for Zipformers."""

    kind: Literal["scaled_adam"] = "scaled_adam"
    rate: Nonnegative = 0.045
    """Base learning rate; large beside Adam's, because it is relative."""
    betas: tuple[Share, Share] = (0.9, 0.98)
    """Decay rates of the first and second moment."""
    clipping_scale: Positive | None = 2.0
    """Multiple of the median of the last hundred norms of gradients, relative to the sizes of
    tensors, at which they are clipped."""
    clip_norm: Positive | None = None
    """Maximum norm of the gradient before that; null disables it."""
    schedule: ScheduleConfig = EdenConfig()
    """Learning rate schedule: factor of the rate at each step."""


OptimizerConfig: TypeAlias = AdamWConfig | ScaledAdamConfig
SHAPED_STATE = (*scaled_adam.SHAPED_STATE, "exp_avg", "exp_avg_sq")
"""What optimizers keep for each element of a parameter, and is sharded as it is."""


def build_optimizer(
    config: OptimizerConfig,
    module: nn.Module,
    rate_scales: Mapping[str, float] | None = None,
    rate_starts: Mapping[str, int] | None = None,
) -> torch.optim.Optimizer:
    """Make the optimizer of every parameter of `module` that is trained.

    Args:
        config: Which one.
        module: What is trained.
        rate_scales: Factor of the rate for parameters whose name begins with a prefix, as in
            {"encoder": 0.05}; 1 for the others, and 0 freezes: no gradient is computed. Each group
            of the result has its own as "scale".
        rate_starts: First step at which such parameters change, 0 for the others; "start" of each
            group.

    Raises:
        UserError: No parameter has one of the prefixes.
    """
    groups: list[dict[str, Any]] = []
    for (scale, start), trained in _grouped(module, rate_scales or {}, rate_starts or {}).items():
        rate = {"scale": scale, "start": start}
        match config:
            case AdamWConfig():
                matrices = [p for p in trained if p.dim() > 1]
                vectors = [p for p in trained if p.dim() <= 1]
                groups.append({"params": matrices, "weight_decay": config.decay, **rate})
                groups.append({"params": vectors, "weight_decay": 0.0, **rate})
            case ScaledAdamConfig():
                groups.append({"params": trained, **rate})
            case _:
                assert_never(config)
    match config:
        case AdamWConfig():
            return torch.optim.AdamW(groups, config.rate, config.betas, config.epsilon)
        case ScaledAdamConfig():
            return ScaledAdam(
                groups, config.rate, clipping_scale=config.clipping_scale, betas=config.betas
            )
        case _:
            assert_never(config)


def _grouped(
    module: nn.Module, scales: Mapping[str, float], starts: Mapping[str, int]
) -> dict[tuple[float, int], list[nn.Parameter]]:
    """Group the trained parameters by the factor of their rate and the step they begin at."""
    groups: dict[tuple[float, int], list[nn.Parameter]] = {}
    named = dict(module.named_parameters())
    for setting, values in (("rate_scales", scales), ("rate_starts", starts)):
        for prefix in values:
            if not any(_begins(name, prefix) for name in named):
                raise UserError(f"{setting}: no parameter begins with {prefix!r}")
    for name, parameter in named.items():
        if parameter.requires_grad:
            scale = _of_longest(scales, name, 1.0)
            if scale == 0:
                parameter.requires_grad_(False)
                continue
            groups.setdefault((scale, _of_longest(starts, name, 0)), []).append(parameter)
    return groups


def _of_longest(values: Mapping[str, _Number], name: str, default: _Number) -> _Number:
    """Find the value of the longest prefix that a name begins with."""
    prefix = max((p for p in values if _begins(name, p)), key=len, default=None)
    return default if prefix is None else values[prefix]


def _begins(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")
