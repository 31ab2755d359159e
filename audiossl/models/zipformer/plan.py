"""The plan of one training step: everything that chance and schedules decide, known before it runs.

The network draws nothing and knows no schedule. It is given a plan, which may be empty (in
evaluation, in a plain model): then nothing is dropped, skipped, masked, limited or pushed. What
takes part and what does not is multiplied, so that every parameter has a gradient in every step; a
skip whose schedule has come to an end is None.
"""

from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from audiossl.models.zipformer.config import ZipformerConfig
from audiossl.models.zipformer.limits import Limit
from audiossl.models.zipformer.regularizer import IDLE, Regularizer

Keep = Float[Tensor, "batch 1 1"]
"""1 for the sequences that take part, 0 for those that do not."""


@dataclass(frozen=True)
class FrontPlan:
    """What happens to the front end in one step."""

    regularizer: Regularizer = IDLE
    gradient_scale: float = 1.0
    """Multiplies the gradient of the first convolution."""
    convnext: Keep | None = None
    """Which sequences do not go past the ConvNeXt block."""
    norm: Limit | None = None
    dropout: Float[Tensor, "batch 1 dim"] | None = None
    """Multiplies the output."""


class Keeps(NamedTuple):
    """Which sequences take part in what, in a layer."""

    attention: Keep | None = None
    """What attention gathers, in all three uses."""
    convolution1: Keep | None = None
    convolution2: Keep | None = None
    feed_forward2: Keep | None = None
    feed_forward3: Keep | None = None
    layer: Keep | None = None
    """All of the layer."""
    positions: Float[Tensor, "1 1 1"] | None = None
    """The positional term of attention scores, of all sequences alike."""


class Limits(NamedTuple):
    """Limits of the parameters of a layer."""

    bypass_mid: Limit | None = None
    bypass: Limit | None = None
    norm: Limit | None = None


@dataclass(frozen=True)
class LayerPlan:
    """What happens to a layer in one step."""

    regularizer: Regularizer = IDLE
    keeps: Keeps = Keeps()
    limits: Limits = Limits()
    dropout: tuple[Float[Tensor, "batch 1 _"] | None, ...] = (None, None, None)
    """Multiplies the hidden layers of the feed-forward modules."""


@dataclass(frozen=True)
class StackPlan:
    """What happens to a stack in one step."""

    layers: tuple[LayerPlan, ...]
    positions: Float[Tensor, "differences encoding_dim"] | None = None
    """Multiplies the encodings of relative positions."""
    features: Float[Tensor, "batch 1 dim"] | None = None
    """Multiplies frames, which silences channels of a whole sequence."""
    combiner: Limit | None = None


@dataclass(frozen=True)
class StepPlan:
    """What happens to a Zipformer in one step."""

    front: FrontPlan
    stacks: tuple[StackPlan, ...]


def idle_plan(config: ZipformerConfig) -> StepPlan:
    """A step in which nothing happens."""
    stacks = (StackPlan(layers=(LayerPlan(),) * count) for count in config.num_layers)
    return StepPlan(FrontPlan(), tuple(stacks))
