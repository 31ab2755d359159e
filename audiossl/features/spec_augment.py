"""SpecAugment: bands of channels and spans of time of a filter bank become its mean.

Source: Park et al. (2019), "SpecAugment: A Simple Data Augmentation Method for Automatic Speech
Recognition", as lhotse has it, without time warping. Widths are uniform below a greatest one, drawn
for every band and span. Short sequences have fewer spans: as many as of the greatest width fit into
the share of time that is hidden. One difference: padding counts neither in the mean nor in lengths.
Everything is drawn at once, for the rows of a whole batch.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from audiossl import distributed
from audiossl.configs import Share, Whole
from audiossl.errors import UserError
from audiossl.nn.lengths import valid_mask


@dataclass(frozen=True, kw_only=True)
class SpecAugmentConfig:
    """How much is hidden."""

    probability: Share = 0.9
    """Probability of changing a sequence at all."""
    num_bands: Whole = 2
    """Number of masked bands of channels."""
    widest_band: Whole = 27
    """Upper bound (exclusive) of the width of a masked band in channels."""
    num_spans: Whole = 10
    """Maximum number of masked spans of time; there are fewer where the longest ones would hide
    more than `most_time`: two in 10 s, by default."""
    longest_span: Whole = 100
    """Upper bound (exclusive) of the length of a masked span in frames at 100 Hz."""
    most_time: Share = 0.15
    """Maximum share of a sequence that masked spans hide."""

    def __post_init__(self) -> None:
        """Check what values alone can tell.

        Raises:
            UserError: A value makes no sense.
        """
        if not (0 <= self.probability <= 1 and 0 <= self.most_time < 1):
            raise UserError("spec_augment: probability and most_time are shares: give 0 to 1")
        if self.longest_span < 1:
            raise UserError(
                f"spec_augment: longest_span must be at least 1, not {self.longest_span}"
            )


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
        batch, lambda rows: torch.rand(rows, per_row, device=features.device, generator=generator)
    )
    chosen = draws[:, :1] < config.probability
    bands = draws[:, 1 : 1 + 2 * config.num_bands].unflatten(1, (-1, 2))
    spans = draws[:, 1 + 2 * config.num_bands :].unflatten(1, (-1, 2))
    widest = torch.full_like(lengths, min(config.widest_band, bins))
    most = lengths * config.most_time
    counts = (most / config.longest_span).ceil().clamp(1, max(1, config.num_spans))
    longest = (most / counts).long().clamp(max=config.longest_span)
    spans[..., 0] *= torch.arange(config.num_spans, device=spans.device) < counts[:, None]
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
    """Mark what pieces cover: each is shorter than `longest`, and lies within `lengths`."""
    widths = (draws[..., 0] * longest[:, None]).long()
    starts = (draws[..., 1] * (lengths[:, None] - widths)).long()
    places = torch.arange(size, device=draws.device)
    inside = (places >= starts[..., None]) & (places < (starts + widths)[..., None])
    return inside.any(dim=1)
