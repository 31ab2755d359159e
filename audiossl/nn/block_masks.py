"""Blocks of a spectrogram that are hidden: groups of neighboring cells, not single ones.

Blocks are added until the wanted share of a clip's area is hidden; they may overlap. A lone cell
can be filled in from its neighbors along time or along harmonics; a block cannot.

Source: Atito, Awais, Kittler, group masked model learning (GMML, arXiv 2205.14986), and ASiT
(arXiv 2211.13189) for spectrograms. Two kinds of blocks are ours, since isolated ones are easily
interpolated in spectrograms: with some probability a block takes all channels, or the whole time.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from audiossl.configs import Count, Share
from audiossl.errors import UserError


@dataclass(frozen=True, kw_only=True)
class BlockMaskConfig:
    """Which part of a spectrogram is hidden."""

    least: Share = 0.5
    """Minimum masked share of a clip's area."""
    most: Share = 0.7
    """Maximum masked share of a clip's area, beside the last block."""
    largest_side: Share = 0.3
    """Maximum side of a block, as a share of the clip's time and of the channels."""
    smallest_side: Count = 4
    """Minimum side of a block, in frames and in channels."""
    all_channels: Share = 0.25
    """Probability that a block takes all channels."""
    all_time: Share = 0.25
    """Probability that a block takes the whole time."""

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            UserError: A value makes no sense.
        """
        if not 0.0 < self.least <= self.most < 1.0:
            raise UserError(
                f"masks: shares from {self.least} to {self.most}: give 0 < least <= most < 1"
            )
        if not 0.0 < self.largest_side <= 1.0 or self.smallest_side < 1:
            raise UserError(
                f"masks: sides from {self.smallest_side} cells to {self.largest_side} of a side: "
                "give at least 1 cell, and more than 0 to 1"
            )
        if min(self.all_channels, self.all_time) < 0 or self.all_channels + self.all_time > 1:
            raise UserError(
                f"masks: all_channels {self.all_channels} and all_time {self.all_time}: give "
                "probabilities whose sum is at most 1"
            )


def block_masks(
    lengths: Int[Tensor, " batch"],
    num_frames: int,
    num_channels: int,
    config: BlockMaskConfig,
    generator: torch.Generator,
) -> Bool[Tensor, "batch frames channels"]:
    """Choose what is hidden of each clip.

    Args:
        lengths: Valid frames of each clip; what lies behind them is never hidden.
        num_frames: Frames of the result.
        num_channels: Channels of the result.
        config: How much, and in which blocks.
        generator: Source of chance, on the CPU: blocks are drawn one after the other.

    Returns:
        True where hidden: of each valid area the drawn share, and less than one block more.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> hidden = block_masks(torch.tensor([40]), 50, 16, BlockMaskConfig(), generator)
        >>> hidden.shape, hidden[:, 40:].any()
        (torch.Size([1, 50, 16]), tensor(False))
    """
    masks = torch.zeros(len(lengths), num_frames, num_channels, dtype=torch.bool)
    for mask, length in zip(masks, lengths.tolist(), strict=True):
        if length:
            _hide(mask[:length], config, generator)
    return masks.to(lengths.device)


def _hide(
    area: Bool[Tensor, "frames channels"], config: BlockMaskConfig, generator: torch.Generator
) -> None:
    draw = torch.rand(1, generator=generator).item()
    wanted = (config.least + (config.most - config.least) * draw) * area.numel()
    while area.sum() < wanted:
        kind, *places = torch.rand(5, generator=generator).tolist()
        frames, channels = (
            _side(size, place, config) for size, place in zip(area.shape, places[:2], strict=True)
        )
        if kind < config.all_channels:
            channels = area.shape[1]
        elif kind < config.all_channels + config.all_time:
            frames = area.shape[0]
        first, lowest = (
            int(place * (size - side + 1))
            for size, side, place in zip(area.shape, (frames, channels), places[2:], strict=True)
        )
        area[first : first + frames, lowest : lowest + channels] = True


def _side(size: int, draw: float, config: BlockMaskConfig) -> int:
    """Draw the length of a block's side, uniform between the smallest and the largest."""
    least = min(config.smallest_side, size)
    most = max(least, int(config.largest_side * size))
    return least + int(draw * (most - least + 1))
