"""Temperatures of contrastive losses over training: constant, or a cycle.

A high temperature groups clips and helps frequent kinds of sound, a low one tells single clips
apart and helps rare ones; a cycle has both at no cost.

Source: Kukleva et al., "Temperature Schedules for Self-Supervised Contrastive Methods on Long-Tail
Data" (ICLR 2023). One choice is ours: half-integer numbers of periods end at the low temperature.
"""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from typing_extensions import assert_never

from audiossl.configs import Count, Positive
from audiossl.errors import UserError


@dataclass(frozen=True, kw_only=True)
class ConstantTemperature:
    """One temperature."""

    kind: Literal["constant"] = "constant"
    value: Positive = 0.2
    """Divides cosines; above 0."""

    def __post_init__(self) -> None:
        """Check the range.

        Raises:
            UserError: It is not above 0.
        """
        if not 0.0 < self.value < math.inf:
            raise UserError(f"temperature is {self.value}: give a number above 0")


@dataclass(frozen=True, kw_only=True)
class TemperatureCycle:
    """A cosine between two temperatures, which begins at the high one."""

    kind: Literal["cycle"] = "cycle"
    low: Positive = 0.1
    """Lowest temperature; above 0."""
    high: Positive = 1.0
    """Highest temperature."""
    period: Count = 1000
    """Steps from one highest temperature to the next; a run of n + 1/2 periods ends at the low."""

    def __post_init__(self) -> None:
        """Check the range.

        Raises:
            UserError: The temperatures or the period make no sense.
        """
        if not 0.0 < self.low <= self.high < math.inf:
            raise UserError(
                f"temperature from {self.low} to {self.high}: give numbers above 0, low first"
            )
        if self.period < 1:
            raise UserError(f"temperature.period is {self.period} steps: give at least 1")


TemperatureConfig: TypeAlias = ConstantTemperature | TemperatureCycle


def temperature_at(config: TemperatureConfig, step: int) -> float:
    """Compute the temperature of a step, counted from 0.

    Example:
        >>> cycle = TemperatureCycle(low=0.1, high=1.0, period=100)
        >>> [round(temperature_at(cycle, step), 2) for step in (0, 25, 50, 100)]
        [1.0, 0.55, 0.1, 1.0]
    """
    match config:
        case ConstantTemperature():
            return config.value
        case TemperatureCycle():
            swing = (1 + math.cos(2 * math.pi * step / config.period)) / 2
            return config.low + (config.high - config.low) * swing
        case _:
            assert_never(config)
