"""Contrast in time: frames of two overlapping crops belong together where they are of one time.

Where contrast of clips makes all crops of a recording alike, this one tells its moments apart: the
negatives of a frame are those of its own crop a little away, and all frames of other recordings.

Source: the local loss of Chaitanya et al. (2020), see `losses.time_contrast`; crops overlap as far
as the data makes them, and the second crop's frames are interpolated at the times of the first's.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from audiossl.batches import DataFacts, ViewBatch
from audiossl.configs import Count, Positive
from audiossl.losses.time_contrast import time_contrast
from audiossl.methods.crops import at_times_of, check_overlap, crop_features, offsets_of, paired
from audiossl.methods.method import Losses, context_of
from audiossl.models.encoder import FeatureEncoder, check_has_frames
from audiossl.nn.frames import Frames
from audiossl.optim.temperature import ConstantTemperature, TemperatureConfig, temperature_at


@dataclass(frozen=True, kw_only=True)
class TimeContrastConfig:
    """Projection head and loss around an encoder of frames."""

    kind: Literal["time_contrast"] = "time_contrast"
    projection_dim: Count = 128
    """Dimension of the projections in which frames are compared."""
    temperature: TemperatureConfig = ConstantTemperature(value=0.1)
    """Temperature that divides cosines: one number, or a cycle over steps."""
    guard: Positive = 0.1
    """Seconds within which frames of the same crop are no negatives."""


class TimeContrast(nn.Module):
    """An encoder and a projection of its frames.

    Example:
        >>> from audiossl.models.patch_transformer import PatchTransformer, PatchTransformerConfig
        >>> encoder = PatchTransformer(PatchTransformerConfig(dim=16, heads=2, layers=1))
        >>> method = TimeContrast(encoder, TimeContrastConfig(), DataFacts(overlap=0.5))
        >>> crops, offsets = torch.randn(2, 16000), torch.tensor([-4000, 8000])
        >>> there, numbers = torch.ones(2, dtype=torch.bool), torch.arange(2)
        >>> batch = ViewBatch(crops, crops, there, numbers, offsets=offsets)
        >>> sorted(method(batch, 0, torch.Generator()).metrics)
        ['frames', 'recall']
    """

    def __init__(
        self, encoder: FeatureEncoder, config: TimeContrastConfig, data: DataFacts
    ) -> None:
        """Put a head on an encoder.

        Raises:
            UserError: The encoder has no frames, or crops of a pair need not overlap.
        """
        super().__init__()
        check_has_frames(encoder, config.kind)
        check_overlap(data, config.kind)
        self.encoder, self.config, self.data = encoder, config, data
        self.projection = nn.Linear(encoder.dim, config.projection_dim)

    def forward(self, batch: ViewBatch, step: int, generator: torch.Generator) -> Losses:
        """Compute the loss of finding each frame's partner in time."""
        return self.contrast(self.vectors(batch, step, generator), batch, step)

    def vectors(
        self, batch: ViewBatch, step: int, generator: torch.Generator
    ) -> Float[Tensor, "two_batches frames dim"]:
        """Project the frames of each anchor, and those of its positive at the same times.

        Frames without a partner are zeros.
        """
        context = context_of(step, self.data, generator)
        features = crop_features(self.encoder, *paired(batch), self.data, context)
        frames = self.encoder.encode_features(*features, context)
        projected = self.projection(frames.vectors)
        rate, first = frames.frame_rate, frames.first_time
        anchors, positives = (
            Frames(projected[side::2], frames.lengths[side::2], rate, first_time=first)
            for side in (0, 1)
        )
        seconds = -offsets_of(batch, self.encoder.sample_rate)
        partners, valid = at_times_of(positives, anchors, seconds)
        both = torch.stack([anchors.vectors, partners.to(projected)], dim=1)
        return both.masked_fill(~valid[:, None, :, None], 0.0).flatten(0, 1)

    def contrast(
        self, vectors: Float[Tensor, "two_batches frames dim"], batch: ViewBatch, step: int
    ) -> Losses:
        """Compare the frames of a whole batch, in float32 whatever they were made in."""
        with torch.autocast(vectors.device.type, enabled=False):
            valid = (vectors[::2] != 0).any(dim=2)
            units = F.normalize(vectors.float(), dim=2)
            guard = round(self.config.guard * self.encoder.frame_rate)
            losses = time_contrast(
                units[::2], units[1::2], valid, batch.recordings.to(vectors.device),
                guard=guard, temperature=temperature_at(self.config.temperature, step),
            )  # fmt: skip
            count = valid.sum()
        with torch.no_grad():
            scores = units[::2] @ units[1::2].mT
            best = scores.masked_fill(~valid[:, None], -2.0).argmax(dim=2)
            found = best == torch.arange(valid.shape[1], device=best.device)
            recall = found[valid].float().mean()
        metrics = {"recall": recall, "frames": valid.float().mean()}
        return Losses(losses.sum() / count.clamp(min=1), float(count), metrics)
