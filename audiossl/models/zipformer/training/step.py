"""One training step of a Zipformer: everything that chance and schedules decide, before it runs.

`sampling` draws it; the network itself draws nothing and has no schedule. In evaluation, and in a
network without machinery, nothing is skipped, dropped, masked, limited or regularized. A mask is
multiplied, so that every parameter has a gradient in every step; the mask of a skip whose schedule
has come to an end is None.
"""

from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from audiossl.models.zipformer.config import ZipformerConfig
from audiossl.models.zipformer.training.limits import ParameterLimit
from audiossl.models.zipformer.training.regularizers import NO_REGULARIZERS, GradientRegularizers

SequenceMask = Float[Tensor, "batch 1 1"]
"""Multiplies what a module adds: 0 for the sequences that skip it, 1 for the others."""


@dataclass(frozen=True)
class FrontEndStep:
    """What a step of training adds to the front end."""

    regularizers: GradientRegularizers = NO_REGULARIZERS
    gradient_scale: float = 1.0
    """Multiplies the gradient of the first convolution."""
    convnext: SequenceMask | None = None
    """Mask of the ConvNeXt block."""
    norm: ParameterLimit | None = None
    dropout: Float[Tensor, "batch 1 dim"] | None = None
    """Multiplies the output."""


class SkipMasks(NamedTuple):
    """Which sequences skip which modules of a layer (stochastic depth)."""

    attention: SequenceMask | None = None
    """All three applications of attention weights."""
    convolution1: SequenceMask | None = None
    convolution2: SequenceMask | None = None
    feed_forward2: SequenceMask | None = None
    feed_forward3: SequenceMask | None = None
    layer: SequenceMask | None = None
    """All of the layer."""
    positions: Float[Tensor, "1 1 1"] | None = None
    """The positional term of attention scores, of all sequences alike."""


class LayerLimits(NamedTuple):
    """Limits of the parameters of a layer."""

    bypass_mid: ParameterLimit | None = None
    bypass: ParameterLimit | None = None
    norm: ParameterLimit | None = None


@dataclass(frozen=True)
class LayerStep:
    """What a step of training adds to a layer."""

    regularizers: GradientRegularizers = NO_REGULARIZERS
    skips: SkipMasks = SkipMasks()
    limits: LayerLimits = LayerLimits()
    dropout: tuple[Float[Tensor, "batch 1 _"] | None, ...] = (None, None, None)
    """Multiplies the hidden layers of the feed-forward modules."""


@dataclass(frozen=True)
class StackStep:
    """What a step of training adds to a stack."""

    layers: tuple[LayerStep, ...]
    positions: Float[Tensor, "differences encoding_dim"] | None = None
    """Multiplies the encodings of relative positions."""
    features: Float[Tensor, "batch 1 dim"] | None = None
    """Multiplies frames, which silences channels of a whole sequence."""
    combiner: ParameterLimit | None = None


@dataclass(frozen=True)
class TrainingStep:
    """What a step of training adds to a Zipformer."""

    front: FrontEndStep
    stacks: tuple[StackStep, ...]


def evaluation_step(config: ZipformerConfig) -> TrainingStep:
    """A step that adds nothing."""
    stacks = (StackStep(layers=(LayerStep(),) * count) for count in config.num_layers)
    return TrainingStep(FrontEndStep(), tuple(stacks))
