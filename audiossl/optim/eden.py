"""Eden: a learning rate that falls with the roots of the steps and of the hours of audio.

Source: Zipformer (Yao et al., 2024), section 3.5, eq. 9, and its public implementation, as SPEAR
uses it: epochs are counted in hours of audio.
"""

from dataclasses import dataclass
from typing import Literal

from audiossl.configs import Positive, Whole

WARM_UP_STEPS = 500
"""Steps in which the rate rises from half of its value to all of it."""


@dataclass(frozen=True, kw_only=True)
class EdenConfig:
    """Eden, with audio counted in hours; SPEAR's values for its base speech network are given."""

    kind: Literal["eden"] = "eden"
    step_scale: Positive = 7500.0
    """Number of steps after which the rate begins to fall as steps^(-1/2)."""
    hour_scale: Positive = 30000.0
    """Hours of audio after which the rate begins to fall as hours^(-1/2), too."""
    seconds_per_step: Positive = 4800.0
    """Seconds of audio in a step, over all ranks."""
    warmup_steps: Whole = WARM_UP_STEPS
    """Number of warm-up steps, in which the rate rises from half of its value."""


def eden_factor(config: EdenConfig, step: int) -> float:
    """Compute what multiplies the base rate for the update at `step`, counted from 0.

    The public implementation counts a batch before it sets the rate of its update.
    """
    return eden(
        step + 1,
        hours_of_audio(step + 1, config.seconds_per_step),
        step_scale=config.step_scale,
        hour_scale=config.hour_scale,
        warm_up=config.warmup_steps,
    )


def eden(
    step: int,
    hours: float,
    *,
    step_scale: Positive = 7500.0,
    hour_scale: float,
    warm_up: int = WARM_UP_STEPS,
) -> float:
    """Compute what multiplies the base learning rate.

    Args:
        step: Optimizer steps, that of the rate among them.
        hours: Audio seen so far, over all ranks, in hours.
        step_scale: Steps after which the rate begins to fall as step^(-1/2); Eden's B.
        hour_scale: Hours after which it begins to fall as hours^(-1/2) too; Eden's E.
        warm_up: Steps in which the rate rises from half of its value.
    """
    by_steps = (step**2 + step_scale**2) / step_scale**2
    by_hours = (hours**2 + hour_scale**2) / hour_scale**2
    rise = 0.5 + 0.5 * min(1.0, step / warm_up) if warm_up else 1.0
    return by_steps**-0.25 * by_hours**-0.25 * rise


def hours_of_audio(steps: int, seconds_per_step: float) -> float:
    """Convert steps of `seconds_per_step` seconds of audio, over all ranks, to hours."""
    return steps * seconds_per_step / 3600.0
