"""Sampling of a training step: all skips in one draw, all masks of dropout in another."""

import itertools
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from audiossl import distributed
from audiossl.models.zipformer.config import ZipformerConfig
from audiossl.models.zipformer.training import schedules
from audiossl.models.zipformer.training.limits import PROBABILITY, ParameterLimit
from audiossl.models.zipformer.training.regularizers import (
    GradientRegularizers,
    gradient_regularizers,
)
from audiossl.models.zipformer.training.schedules import Progress
from audiossl.models.zipformer.training.step import (
    FrontEndStep,
    LayerLimits,
    LayerStep,
    SequenceMask,
    SkipMasks,
    StackStep,
    TrainingStep,
)

LAYER_SKIPS = (
    schedules.ATTENTION_SKIP,
    schedules.CONVOLUTION_SKIP,
    schedules.CONVOLUTION_SKIP,
    schedules.FEED_FORWARD_SKIP,
    schedules.FEED_FORWARD_SKIP,
)
"""Of the modules of every layer, in the order of `SkipMasks`; the whole layer's depends on it."""
FRONT_SKIPS = (schedules.CONVNEXT_SKIP, schedules.FEATURE_SKIP, schedules.FEATURE_SKIP)
"""Of the ConvNeXt block, the upper half and the uppermost quarter of maskable channels."""
FRONT_GRADIENT = 0.2
"""Scale of the first convolution's gradient, which fp16 would not hold otherwise."""

GREATEST_LOG_SCALE = 1.5
"""Absolute value of BiasNorm's log_scale."""


def sample_step(
    config: ZipformerConfig,
    progress: Progress,
    *,
    batch: int,
    length: int,
    device: torch.device,
    generator: torch.Generator | None = None,
) -> TrainingStep:
    """Draw what one step of training adds to the network.

    Args:
        config: Of the Zipformer.
        progress: How far training has come.
        batch: Sequences on this rank.
        length: Frames at 50 Hz.
        device: Where the network is.
        generator: Source of chance, which all ranks have seeded alike: each draws for the rows of
            all and keeps its own. Without one, each rank draws from torch's global state.

    Example:
        >>> step = sample_step(
        ...     ZipformerConfig(), Progress(0, 0.0), batch=2, length=50, device=torch.device("cpu")
        ... )
        >>> len(step.stacks)
        7
    """
    sampler = _Sampler(batch, device, generator)
    layer_skips = schedules.layer_skips(config.strides, config.num_layers)
    schedule = [FRONT_SKIPS, *((*LAYER_SKIPS, skip) for skip in layer_skips)]
    rates = [[skip.at(progress) for skip in group] for group in schedule]
    (convnext, *features), *of_layers = sampler.skips(rates)
    masks = iter(sampler.masks(config, schedules.DROPOUT.at(progress)))
    limits = _LimitSampler(sampler, config, progress)
    positions = sampler.position_skips(config, schedules.POSITION_SKIP.at(progress))
    regularizers = gradient_regularizers(progress, device)
    front = FrontEndStep(regularizers, FRONT_GRADIENT, convnext, limits.norm(), next(masks))
    layers = (
        _layer_step(regularizers, SkipMasks(*skips)._replace(positions=position), masks, limits)
        for skips, position in zip(of_layers, positions, strict=True)
    )
    stacks = (
        StackStep(
            layers=tuple(itertools.islice(layers, count)),
            positions=sampler.position_mask(-(-length // stride), config.position_dim),
            features=_feature_mask(config, *features),
            combiner=limits.bypass(),
        )
        for count, stride in zip(config.num_layers, config.strides, strict=True)
    )
    return TrainingStep(front, tuple(stacks))


def _layer_step(
    regularizers: GradientRegularizers,
    skips: SkipMasks,
    masks: Iterator[Tensor],
    limits: "_LimitSampler",
) -> LayerStep:
    own = LayerLimits(limits.bypass(), limits.bypass(), limits.norm())
    return LayerStep(regularizers, skips, own, tuple(itertools.islice(masks, 3)))


def _feature_mask(
    config: ZipformerConfig, lower: SequenceMask | None, upper: SequenceMask | None
) -> Float[Tensor, "batch 1 dim"] | None:
    """Silence the upper half of the channels that can be, or the upper half of that."""
    if lower is None or upper is None:
        return None
    half = (config.dim - config.unmasked_dim) // 2
    rest = config.dim - config.unmasked_dim - half
    always = torch.ones_like(lower).expand(-1, -1, config.unmasked_dim)
    return torch.cat(
        [always, lower.expand(-1, -1, half), (lower * upper).expand(-1, -1, rest)], dim=-1
    )


class _Sampler:
    """Uniform numbers of one step, drawn for all sequences at once."""

    def __init__(self, batch: int, device: torch.device, generator: torch.Generator | None) -> None:
        self.batch, self.device, self.generator = batch, device, generator

    def shared(self, *shape: int) -> Tensor:
        """Draw uniform numbers, alike on all ranks if there is a generator."""
        if self.generator is None:
            return torch.rand(shape, device=self.device)
        drawn = torch.rand(shape, generator=self.generator, device=self.generator.device)
        return drawn.to(self.device)

    def rows(self, count: int) -> Float[Tensor, "batch count"]:
        """Draw uniform numbers, `count` for each sequence of this rank."""
        if self.generator is None:
            return self.shared(self.batch, count)
        return distributed.draw_rows(self.batch, lambda rows: self.shared(rows, count))

    def skips(self, rates: list[list[float]]) -> list[list[SequenceMask | None]]:
        """Draw masks of skips, given their probabilities; None where one is 0."""
        flat = torch.tensor(list(itertools.chain.from_iterable(rates)), device=self.device)
        survives = (self.rows(len(flat)) >= flat).float()[..., None, None]
        columns = iter(survives.unbind(dim=1))
        # The column is drawn where it is not used, too: later draws do not depend on schedules.
        pairs = [[(rate, next(columns)) for rate in group] for group in rates]
        return [[keep if rate else None for rate, keep in group] for group in pairs]

    def masks(self, config: ZipformerConfig, rate: float) -> tuple[Tensor, ...]:
        """Draw masks of dropout: of the front end, then of the three modules of each layer."""
        widths = [config.dim, *config.feed_forward_dims * sum(config.num_layers)]
        return _dropout(self.rows(sum(widths)), rate)[:, None].split(widths, dim=-1)

    def position_skips(self, config: ZipformerConfig, rate: float) -> list[SequenceMask | None]:
        """Draw for each layer whether its scores have the positional term, in the whole batch."""
        drawn = self.shared(sum(config.num_layers), 1, 1, 1)
        return list((drawn >= rate).float().unbind()) if rate else [None] * len(drawn)

    def position_mask(self, length: int, dim: int) -> Tensor:
        """Draw a mask of dropout for encodings of relative positions."""
        return _dropout(self.shared(2 * length - 1, dim), schedules.POSITION_DROPOUT)


def _dropout(uniform: Tensor, rate: float) -> Tensor:
    return (uniform >= rate).float() / (1.0 - rate)


class _LimitSampler:
    """Limits of parameters, each of which acts with a probability of its own."""

    def __init__(self, sampler: _Sampler, config: ZipformerConfig, progress: Progress) -> None:
        count = 3 * sum(config.num_layers) + len(config.strides) + 1
        self.acting = iter((sampler.shared(count) < PROBABILITY).unbind())
        least = [schedules.LEAST_BYPASS.at(progress), -GREATEST_LOG_SCALE]
        low = torch.tensor(least, device=sampler.device)
        self.least_bypass, self.least_log_scale = low.unbind()

    def bypass(self) -> ParameterLimit:
        return ParameterLimit(self.least_bypass, 1.0, next(self.acting))

    def norm(self) -> ParameterLimit:
        return ParameterLimit(self.least_log_scale, GREATEST_LOG_SCALE, next(self.acting))
