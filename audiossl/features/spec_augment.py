"""SpecAugment: bands of channels and spans of time of a filter bank become its mean.

Source: Park et al. (2019), "SpecAugment: A Simple Data Augmentation Method for Automatic Speech
Recognition", without time warping. Widths are uniform from 0 to a greatest one, drawn for every
band and span; everything is drawn at once, for the rows of a whole batch.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from audiossl import distributed
from audiossl.errors import UserError
from audiossl.nn.lengths import valid_mask


@dataclass(frozen=True, kw_only=True)
class SpecAugmentConfig:
    """How much is hidden."""

    probability: float = 0.9
    """Of a sequence to be changed at all."""
    num_bands: int = 2
    """Bands of channels."""
    widest_band: int = 27
    """Channels."""
    num_spans: int = 10
    """Spans of time."""
    longest_span: int = 100
    """Frames at 100 Hz."""
    most_time: float = 0.15
    """Greatest share of a sequence that spans hide."""

    def __post_init__(self) -> None:
        """Check what values alone can tell.

        Raises:
            UserError: A value makes no sense.
        """
        if not (0 <= self.probability <= 1 and 0 <= self.most_time < 1):
            raise UserError("spec_augment: probability and most_time are shares: give 0 to 1")


def spec_augment(
    features: Float[Tensor, "batch frames bins"],
    lengths: Int[Tensor, " batch"],
    config: SpecAugmentConfig,
    generator: torch.Generator,
) -> Float[Tensor, "batch frames bins"]:
    """Put the mean of each sequence into bands of channels and spans of time.

    Args:
        features: Filter banks, padded at the end.
        lengths: Valid frames.
        config: How much is hidden.
        generator: Source of chance, seeded alike on all ranks.
    """
    batch, frames, bins = features.shape
    per_row = 1 + 2 * (config.num_bands + config.num_spans)
    draws = distributed.draw_rows(
        batch,
        lambda rows: torch.rand(rows, per_row, device=features.device, generator=generator),
    )
    chosen = draws[:, :1] < config.probability
    bands = draws[:, 1 : 1 + 2 * config.num_bands].unflatten(1, (-1, 2))
    spans = draws[:, 1 + 2 * config.num_bands :].unflatten(1, (-1, 2))
    widest = torch.full_like(lengths, min(config.widest_band, bins))
    room = (lengths * config.most_time / max(1, config.num_spans)).long()
    longest = room.clamp(max=config.longest_span)
    hidden_bins = _covered(bands, widest, torch.full_like(lengths, bins), bins) & chosen
    hidden_frames = _covered(spans, longest, lengths, frames) & chosen
    valid = valid_mask(lengths, frames)
    total = (features * valid[..., None]).sum(dim=(1, 2))
    means = total / (lengths.clamp(min=1) * bins)
    hidden = (hidden_bins[:, None] | hidden_frames[..., None]) & valid[..., None]
    return torch.where(hidden, means[:, None, None], features)


def _covered(
    draws: Float[Tensor, "batch pieces two"],
    longest: Int[Tensor, " batch"],
    lengths: Int[Tensor, " batch"],
    size: int,
) -> Bool[Tensor, "batch size"]:
    """Mark what pieces cover: each has a width of at most `longest`, and lies within `lengths`."""
    widths = (draws[..., 0] * (longest[:, None] + 1)).long()
    starts = (draws[..., 1] * (lengths[:, None] - widths + 1)).long()
    places = torch.arange(size, device=draws.device)
    inside = (places >= starts[..., None]) & (places < (starts + widths)[..., None])
    return inside.any(dim=1)
