"""Distortions of a student's input: levels, noise, other sounds, channels.

The teachers' targets are those of the undistorted crop, so a student that meets them says the same
of a sound whatever the level, the channel and the background. Waveforms are distorted first, then
the filter bank of what came out; all of it on the device, from one draw a row.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from audiossl import distributed
from audiossl.configs import Count, Nonnegative, Range, Share, Whole
from audiossl.nn.lengths import valid_mask
from audiossl.nn.span_masks import span_masks

Decibels = Annotated[float, Range(-100, 100)]


@dataclass(frozen=True, kw_only=True)
class DistortionsConfig:
    """How much of what; a probability of 0 leaves a distortion out."""

    probability: Share = 0.7
    """Probability of distorting a crop at all."""
    gain: Nonnegative = 10.0
    """Largest change of level in decibels, up or down."""
    mixing_probability: Share = 0.3
    """Probability that a distorted crop is mixed with another of the batch."""
    noise_probability: Share = 0.3
    """Probability of adding white noise to a distorted crop."""
    ratio: tuple[Decibels, Decibels] = (3.0, 25.0)
    """Lowest and highest signal-to-noise ratio in decibels of a crop and what is added to it."""
    equalizer: Nonnegative = 6.0
    """Standard deviation in decibels of each of the cosines over mel bins that make a random
    channel."""
    equalizer_terms: Whole = 4
    """Number of those cosines."""
    time_probability: Share = 0.15
    """Approximate share of feature frames that are masked in a distorted crop."""
    time_span: Count = 15
    """Number of feature frames in a masked span."""
    channel_probability: Share = 0.1
    """Approximate share of mel bins that are masked in a distorted crop."""
    channel_span: Count = 8
    """Number of mel bins in a masked band."""


def distort_waveforms(
    waveforms: Float[Tensor, "batch samples"],
    lengths: Int[Tensor, " batch"],
    config: DistortionsConfig,
    generator: torch.Generator,
) -> Float[Tensor, "batch samples"]:
    """Add another crop or noise, and change the level; what is behind a row's end stays silent."""
    draws = _draws(waveforms, 8, generator)
    distorted = draws[:, 0] < config.probability
    mixed = distorted & (draws[:, 1] < config.mixing_probability)
    noisy = distorted & (draws[:, 2] < config.noise_probability)
    noise = distributed.draw_rows(
        len(waveforms),
        lambda rows: torch.randn(
            rows, waveforms.shape[1], device=waveforms.device, generator=generator
        ),
    )
    others = neighbors(waveforms)
    least, most = config.ratio
    ratios = [least + (most - least) * draws[:, column] for column in (3, 4)]
    changed = waveforms
    for added, chosen, ratio in ((others, mixed, ratios[0]), (noise, noisy, ratios[1])):
        changed = changed + at_ratio(waveforms, added, ratio) * chosen[:, None]
    gains = torch.where(distorted, config.gain * (2 * draws[:, 5] - 1), 0.0)
    changed = changed * decibels(gains)[:, None]
    return changed.masked_fill(~valid_mask(lengths, changed.shape[1]), 0.0)


def distort_features(
    features: Float[Tensor, "batch frames bins"],
    lengths: Int[Tensor, " batch"],
    config: DistortionsConfig,
    generator: torch.Generator,
) -> Float[Tensor, "batch frames bins"]:
    """Send log-mel frames through a random channel, and hide spans of bins and of time.

    What is hidden has the crop's mean of the bin: there is no vector for it that use would lack.
    """
    size, bins = features.shape[1:]
    terms = config.equalizer_terms
    draws = _draws(features, 2 + terms + bins + 1 + size + 1, generator)
    distorted = (draws[:, 0] < config.probability)[:, None, None]
    amounts, channel_draws, time_draws = draws[:, 2:].split([terms, bins + 1, size + 1], dim=1)
    # A uniform draw of this spread has deviation 1; natural logarithms of power, not decibels.
    spread = math.sqrt(12.0) * config.equalizer * math.log(10.0) / 10.0
    changed = features + ((amounts - 0.5) * spread @ _cosines(terms, bins, features))[:, None]
    channels = span_masks(
        torch.full_like(lengths, bins), bins, probability=config.channel_probability,
        span=config.channel_span, min_spans=0, draws=channel_draws,
    )  # fmt: skip
    times = span_masks(
        lengths, size, probability=config.time_probability, span=config.time_span,
        min_spans=0, draws=time_draws,
    )  # fmt: skip
    valid = valid_mask(lengths, size)[..., None]
    means = changed.masked_fill(~valid, 0.0).sum(dim=1, keepdim=True)
    means = means / lengths.clamp(min=1)[:, None, None]
    hidden = channels[:, None] | times[..., None]
    return torch.where(distorted & valid, torch.where(hidden, means, changed), features)


def decibels(gains: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Turn decibels into factors of amplitude."""
    return 10.0 ** (gains / 20.0)


def neighbors(rows: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch samples"]:
    """Give each row its neighbor in its pair; the last of an odd number has itself."""
    return rows[partners(len(rows), rows.device)[0]]


def partners(
    count: int, device: torch.device
) -> tuple[Int[Tensor, " batch"], Bool[Tensor, " batch"]]:
    """Number each row's neighbor in its pair, and mark the last of an odd number, its own one."""
    rows = torch.arange(count, device=device)
    others = (rows ^ 1).clamp(max=count - 1)
    return others, others == rows


def at_ratio(
    waveforms: Float[Tensor, "batch samples"],
    added: Float[Tensor, "batch samples"],
    ratios: Float[Tensor, " batch"],
) -> Float[Tensor, "batch samples"]:
    """Scale what is added so that the waveform is `ratios` decibels above it.

    Example:
        >>> at_ratio(torch.ones(1, 4), 5 * torch.ones(1, 4), torch.tensor([20.0]))
        tensor([[0.1000, 0.1000, 0.1000, 0.1000]])
    """
    own, other = (x.square().mean(dim=1).sqrt() for x in (waveforms, added))
    return added * (own / other.clamp(min=1e-5) * decibels(-ratios))[:, None]


def _cosines(terms: int, bins: int, like: Tensor) -> Float[Tensor, "terms bins"]:
    order = torch.arange(terms, device=like.device, dtype=torch.float32)[:, None]
    centers = (torch.arange(bins, device=like.device, dtype=torch.float32) + 0.5) / bins
    return (math.pi * order * centers).cos()


def _draws(rows: Tensor, count: int, generator: torch.Generator) -> Float[Tensor, "batch count"]:
    return distributed.draw_rows(
        len(rows),
        lambda whole: torch.rand(whole, count, device=rows.device, generator=generator),
    )
