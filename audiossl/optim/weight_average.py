"""The mean of a network's weights over its training, and over the part between two checkpoints.

Every so often the mean since the start takes the current weights in. Two such means, at two steps,
give the mean over the steps in between, whose weights usually are better than any single ones.

Source: the public implementation of SPEAR's training (`icefall`).
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

PERIOD = 200
"""Steps from one update of the mean to the next."""


def update_average(
    average: Mapping[str, Float[Tensor, "*_"]],
    weights: Mapping[str, Float[Tensor, "*_"]],
    step: int,
    period: int = PERIOD,
) -> None:
    """Take the current weights into the mean since the start, in place.

    average ← (1 - period / step) · average + (period / step) · weights. Kept in float64, the mean
    stays exact over hundreds of thousands of steps.

    Args:
        average: Mean at step `step - period`; of no account at step `period`.
        weights: Current weights, by the same names.
        step: Steps done, a multiple of `period`.
        period: Steps from one update to the next.

    Raises:
        ValueError: `step` is not a positive multiple of `period`.
    """
    if step < period or step % period:
        raise ValueError(f"the mean is updated every {period} steps, not at step {step}")
    with torch.no_grad():
        for name, mean in average.items():
            current = weights[name].to(mean)
            if mean.is_floating_point():
                mean.lerp_(current, period / step)
            else:
                mean.copy_(current)


def average_between(
    start: Mapping[str, Float[Tensor, "*_"]],
    start_step: int,
    end: Mapping[str, Float[Tensor, "*_"]],
    end_step: int,
) -> dict[str, Float[Tensor, "*_"]]:
    """Compute the mean of the weights between two steps from the means since the start at each.

    Args:
        start: Mean of weights until `start_step`.
        start_step: Steps that `start` is a mean over.
        end: Mean of weights until `end_step`.
        end_step: Steps that `end` is a mean over.

    Returns:
        (end_step · end - start_step · start) / (end_step - start_step), in the types of `end`.

    Raises:
        ValueError: The first step does not come before the second, or names differ.
    """
    if not 0 <= start_step < end_step:
        raise ValueError(f"no steps lie between step {start_step} and step {end_step}")
    if start.keys() != end.keys():
        raise ValueError(f"weights differ: {sorted(start.keys() ^ end.keys())[:3]}")
    span = end_step - start_step
    return {
        name: _extrapolated(start[name], value, start_step / span)
        if value.is_floating_point()
        else value.clone()
        for name, value in end.items()
    }


def _extrapolated(start: Tensor, end: Tensor, factor: float) -> Tensor:
    mean = end.double() + factor * (end.double() - start.double())
    return mean.to(end.dtype)
