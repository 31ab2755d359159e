"""Every Balancer and Whiten of a Zipformer, with its schedule: changes of gradients alone.

Source: the public implementation of SPEAR's training, where each of them acts with some probability
of its own in each forward pass. Here all act together, in every `period`-th step, with the strength
that they would have had in those steps by chance: steps in between run without any of them, and a
compiled model has two graphs.
"""

import functools
from dataclasses import dataclass, field
from enum import IntEnum, auto

import torch
from jaxtyping import Float
from torch import Tensor

from audiossl.models.zipformer.training.balancing import balance, bounds, directions
from audiossl.models.zipformer.training.batched import Batch, pays
from audiossl.models.zipformer.training.schedules import Progress, Schedule
from audiossl.models.zipformer.training.whitening import shifts, whiten

SCORE_PENALTY = 1e-4
"""Gradient of the penalty on attention scores beyond ±25."""
SCORE_PROBABILITY = 0.1
WHITEN_PROBABILITY = 0.25
"""With which Whiten acts where its limit is exceeded."""
DEFAULT_PROBABILITY = Schedule((0, 0.5), (8000, 0.125))
"""With which a Balancer acts."""


class Balance(IntEnum):
    """What is balanced."""

    CONVOLUTION_1 = 0
    CONVOLUTION_2 = auto()
    CONVOLUTION_3 = auto()
    CONVNEXT_HIDDEN = auto()
    CONVNEXT_OUTPUT = auto()
    KEYS = auto()
    NONLINEAR_GATE = auto()
    NONLINEAR_OUTPUT = auto()
    FEED_FORWARD_HIDDEN = auto()
    FEED_FORWARD_2 = auto()
    FEED_FORWARD_3 = auto()
    DEPTHWISE_GATE = auto()
    DEPTHWISE_OUTPUT = auto()
    BEFORE_NORM = auto()
    LAYER_OUTPUT = auto()


class Whitening(IntEnum):
    """What is whitened."""

    CONVNEXT_OUTPUT = 0
    FRONT_END = auto()
    KEYS = auto()
    SELF_ATTENTION = auto()
    NONLINEAR_INPUT = auto()
    NONLINEAR_OUTPUT = auto()
    FEED_FORWARD = auto()
    CONVOLUTION = auto()
    LAYER_OUTPUT = auto()


@dataclass(frozen=True)
class _Balancer:
    least_positive: float | Schedule
    greatest_positive: float | Schedule
    least_absolute: float | Schedule
    greatest_absolute: float | Schedule
    probability: float | Schedule = DEFAULT_PROBABILITY


@dataclass(frozen=True)
class _Whiten:
    limit: float | Schedule
    strength: float = 0.01


BALANCERS: dict[Balance, _Balancer] = {
    Balance.CONVOLUTION_1: _Balancer(0.05, 0.95, 0.2, 1.0),
    Balance.CONVOLUTION_2: _Balancer(0.05, 0.95, 0.2, 4.0),
    Balance.CONVOLUTION_3: _Balancer(0.05, 0.95, 0.2, 4.0),
    Balance.CONVNEXT_HIDDEN: _Balancer(0.3, 1.0, 0.75, 5.0),
    Balance.CONVNEXT_OUTPUT: _Balancer(0.4, 0.6, 1.0, 6.0),
    Balance.KEYS: _Balancer(0.4, 0.6, 0.0, 100.0, 0.025),
    Balance.NONLINEAR_GATE: _Balancer(
        Schedule((0, 0.25), (20000, 0.05)), Schedule((0, 0.75), (20000, 0.95)), 0.5, 5.0
    ),
    Balance.NONLINEAR_OUTPUT: _Balancer(0.3, 0.7, Schedule((0, 0.004), (4000, 0.02)), 100.0, 0.05),
    Balance.FEED_FORWARD_HIDDEN: _Balancer(0.3, 1.0, 0.75, 5.0),
    Balance.FEED_FORWARD_2: _Balancer(0.3, 0.7, Schedule((0, 0.0), (4000, 0.1)), 2.0, 0.05),
    Balance.FEED_FORWARD_3: _Balancer(0.3, 0.7, Schedule((0, 0.0), (4000, 0.2)), 4.0, 0.05),
    Balance.DEPTHWISE_GATE: _Balancer(
        Schedule((0, 0.05), (8000, 0.025)), 1.0, 1.5, Schedule((0, 5.0), (8000, 10.0))
    ),
    Balance.DEPTHWISE_OUTPUT: _Balancer(
        Schedule((0, 0.1), (8000, 0.05)), 1.0, Schedule((0, 0.2), (20000, 0.5)), 10.0
    ),
    Balance.BEFORE_NORM: _Balancer(0.45, 0.55, 0.2, 4.0),
    Balance.LAYER_OUTPUT: _Balancer(0.45, 0.55, 0.1, 4.0),
}
"""Least and greatest part of values that is positive, mean absolute value, and probability."""

WHITENERS: dict[Whitening, _Whiten] = {
    Whitening.CONVNEXT_OUTPUT: _Whiten(5.0),
    Whitening.FRONT_END: _Whiten(Schedule((0, 4.0), (20000, 8.0)), strength=0.02),
    Whitening.KEYS: _Whiten(Schedule((0, 3.0), (20000, 6.0)), strength=0.025),
    Whitening.SELF_ATTENTION: _Whiten(Schedule((0, 7.5), (20000, 22.5))),
    Whitening.NONLINEAR_INPUT: _Whiten(Schedule((0, 5.0), (20000, 10.0))),
    Whitening.NONLINEAR_OUTPUT: _Whiten(Schedule((0, 5.0), (20000, 15.0))),
    Whitening.FEED_FORWARD: _Whiten(Schedule((0, 7.5), (20000, 15.0))),
    Whitening.CONVOLUTION: _Whiten(Schedule((0, 7.5), (20000, 15.0))),
    Whitening.LAYER_OUTPUT: _Whiten(Schedule((0, 4.0), (20000, 12.0))),
}
"""Limit of the metric, and norm of what is added relative to the gradient."""


@dataclass(frozen=True)
class GradientRegularizers:
    """The regularizers of one step; without limits, each leaves gradients as they are."""

    balance_limits: Float[Tensor, "balancers 5"] | None = None
    whiten_limits: Float[Tensor, "whiteners 2"] | None = None
    score_penalty: float = 0.0
    """Added to the gradient of attention scores beyond ±25, with their sign."""
    directions: Batch = field(default_factory=lambda: Batch(directions), compare=False, repr=False)
    """Directions of all Balancers of the step."""
    shifts: Batch = field(default_factory=lambda: Batch(shifts), compare=False, repr=False)
    """Shifts of all Whiteners of the step."""

    def balance(
        self,
        x: Float[Tensor, "*batch dim"],
        kind: Balance,
        channels: slice = slice(None),
        plus: float = 0.0,
    ) -> Float[Tensor, "*batch dim"]:
        """Return `x`, with a gradient that leads each channel's statistics into their limits."""
        if self.balance_limits is None:
            return x
        batch = self.directions if pays(x) else None
        return balance(x, self.balance_limits[kind], channels, plus, batch)

    def whiten(
        self,
        x: Float[Tensor, "*batch dim"],
        kind: Whitening,
        channels: slice = slice(None),
        groups: int = 1,
    ) -> Float[Tensor, "*batch dim"]:
        """Return `x`, with a gradient that leads its covariance away from degeneration."""
        if self.whiten_limits is None:
            return x
        limit, strength = self.whiten_limits[kind].unbind()
        batch = self.shifts if pays(x) else None
        return whiten(x, limit, strength, channels, groups, batch=batch)


NO_REGULARIZERS = GradientRegularizers()
"""Does nothing: in evaluation, in a plain model, and in most steps of training."""


def period(progress: Progress) -> int:
    """Steps from one in which regularizers act to the next: 2 in the beginning, 8 in the end."""
    return int(1 / DEFAULT_PROBABILITY.at(progress))


def gradient_regularizers(progress: Progress, device: torch.device) -> GradientRegularizers:
    """Those that act in this step of training, with their limits at this point."""
    steps = period(progress)
    if progress.step % steps:
        return NO_REGULARIZERS
    at = functools.partial(_at, progress)
    balancers = [
        bounds(
            (at(b.least_positive), at(b.greatest_positive)),
            (at(b.least_absolute), at(b.greatest_absolute)),
            strength=steps * at(b.probability),
        )
        for b in (BALANCERS[kind] for kind in Balance)
    ]
    whiteners = [
        (at(w.limit), steps * WHITEN_PROBABILITY * w.strength)
        for w in (WHITENERS[kind] for kind in Whitening)
    ]
    return GradientRegularizers(
        torch.tensor(balancers, device=device),
        torch.tensor(whiteners, device=device),
        steps * SCORE_PROBABILITY * SCORE_PENALTY,
    )


def _at(progress: Progress, value: float | Schedule) -> float:
    return value.at(progress) if isinstance(value, Schedule) else value
