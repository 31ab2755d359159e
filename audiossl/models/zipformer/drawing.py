"""Drawing the plan of a training step: all skips in one draw, all masks of dropout in another."""

import itertools
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from audiossl import distributed
from audiossl.models.zipformer import schedules
from audiossl.models.zipformer.config import ZipformerConfig
from audiossl.models.zipformer.limits import PROBABILITY, Limit
from audiossl.models.zipformer.plan import (
    FrontPlan,
    Keep,
    Keeps,
    LayerPlan,
    Limits,
    StackPlan,
    StepPlan,
)
from audiossl.models.zipformer.regularizer import Regularizer, regularizer_at
from audiossl.models.zipformer.schedules import Progress

LAYER_SKIPS = (
    schedules.ATTENTION_SKIP,
    schedules.CONVOLUTION_SKIP,
    schedules.CONVOLUTION_SKIP,
    schedules.FEED_FORWARD_SKIP,
    schedules.FEED_FORWARD_SKIP,
)
"""Of every layer and sequence, in the order of `Keeps`; before how often a layer is gone past."""
FRONT_SKIPS = (schedules.CONVNEXT_SKIP, schedules.FEATURE_SKIP, schedules.FEATURE_SKIP)
"""Of the ConvNeXt block, the upper half and the uppermost quarter of maskable channels."""
FRONT_GRADIENT = 0.2
"""Scale of the first convolution's gradient, which fp16 would not hold otherwise."""

GREATEST_LOG_SCALE = 1.5
"""Absolute value of BiasNorm's log_scale."""


def draw_plan(
    config: ZipformerConfig,
    progress: Progress,
    *,
    batch: int,
    length: int,
    device: torch.device,
    generator: torch.Generator | None = None,
) -> StepPlan:
    """Draw what happens in one step of training.

    Args:
        config: Of the Zipformer.
        progress: How far training has come.
        batch: Sequences on this rank.
        length: Frames at 50 Hz.
        device: Where the network is.
        generator: Source of chance, which all ranks have seeded alike: each draws for the rows of
            all and keeps its own. Without one, each rank draws from torch's global state.
    """
    dice = _Dice(batch, device, generator)
    layer_skips = schedules.layer_skips(config.strides, config.num_layers)
    skips = [FRONT_SKIPS, *((*LAYER_SKIPS, skip) for skip in layer_skips)]
    rates = [[skip.at(progress) for skip in group] for group in skips]
    (convnext, *features), *keeps = dice.keeps(rates)
    masks = iter(dice.masks(config, schedules.DROPOUT.at(progress)))
    coins = _Coins(dice, config, progress)
    positions = dice.position_keeps(config, schedules.POSITION_SKIP.at(progress))
    regularizer = regularizer_at(progress, device)
    front = FrontPlan(regularizer, FRONT_GRADIENT, convnext, coins.norm(), next(masks))
    layers = (
        _layer_plan(regularizer, Keeps(*keep)._replace(positions=position), masks, coins)
        for keep, position in zip(keeps, positions, strict=True)
    )
    stacks = (
        StackPlan(
            layers=tuple(itertools.islice(layers, count)),
            positions=dice.position_mask(-(-length // stride), config.position_dim),
            features=_feature_mask(config, *features),
            combiner=coins.bypass(),
        )
        for count, stride in zip(config.num_layers, config.strides, strict=True)
    )
    return StepPlan(front, tuple(stacks))


def _layer_plan(
    regularizer: Regularizer, keeps: Keeps, masks: Iterator[Tensor], coins: "_Coins"
) -> LayerPlan:
    limits = Limits(coins.bypass(), coins.bypass(), coins.norm())
    return LayerPlan(regularizer, keeps, limits, tuple(itertools.islice(masks, 3)))


def _feature_mask(
    config: ZipformerConfig, lower: Keep | None, upper: Keep | None
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


class _Dice:
    """Chance of one step, drawn for all sequences at once."""

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

    def keeps(self, rates: list[list[float]]) -> list[list[Keep | None]]:
        """Draw who takes part, given how often each is skipped; None where that never happens."""
        flat = torch.tensor(list(itertools.chain.from_iterable(rates)), device=self.device)
        kept = (self.rows(len(flat)) >= flat).float()[..., None, None]
        columns = iter(kept.unbind(dim=1))
        # The column is drawn where it is not used, too: later draws do not depend on schedules.
        pairs = [[(rate, next(columns)) for rate in group] for group in rates]
        return [[keep if rate else None for rate, keep in group] for group in pairs]

    def masks(self, config: ZipformerConfig, rate: float) -> tuple[Tensor, ...]:
        """Draw masks of dropout: of the front end, then of the three modules of each layer."""
        widths = [config.dim, *config.feed_forward_dims * sum(config.num_layers)]
        return _dropout(self.rows(sum(widths)), rate)[:, None].split(widths, dim=-1)

    def position_keeps(self, config: ZipformerConfig, rate: float) -> list[Keep | None]:
        """Draw for each layer whether its attention knows of time, alike for all sequences."""
        drawn = self.shared(sum(config.num_layers), 1, 1, 1)
        return list((drawn >= rate).float().unbind()) if rate else [None] * len(drawn)

    def position_mask(self, length: int, dim: int) -> Tensor:
        """Draw a mask of dropout for encodings of relative positions."""
        return _dropout(self.shared(2 * length - 1, dim), schedules.POSITION_DROPOUT)


def _dropout(uniform: Tensor, rate: float) -> Tensor:
    return (uniform >= rate).float() / (1.0 - rate)


class _Coins:
    """Limits of parameters, each with a coin of its own."""

    def __init__(self, dice: _Dice, config: ZipformerConfig, progress: Progress) -> None:
        count = 3 * sum(config.num_layers) + len(config.strides) + 1
        self.coins = iter((dice.shared(count) < PROBABILITY).unbind())
        least = [schedules.LEAST_BYPASS.at(progress), -GREATEST_LOG_SCALE]
        self.least_bypass, self.least_log_scale = torch.tensor(least, device=dice.device).unbind()

    def bypass(self) -> Limit:
        return Limit(self.least_bypass, 1.0, next(self.coins))

    def norm(self) -> Limit:
        return Limit(self.least_log_scale, GREATEST_LOG_SCALE, next(self.coins))
