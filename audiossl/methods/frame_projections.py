"""Learning without augmenting: three encoders of three views of a clip, which lose nothing of it.

The encoder that is trained, one of MDCT coefficients and one of magnitudes of a tight STFT encode
the same waveform. Each finds the clip's vector of each of the others among those of other clips
(NT-Xent, in which clips of the same view are negatives, too). Two mappers learn to say, from the
clip vector of the encoder alone, what the other two encoders make of the clip.

Source: Demirel and Holz, "Learning Without Augmenting: Unsupervised Time Series Representation
Learning via Frame Projections" (NeurIPS 2025), which has no experiment on audio. **This is our
transfer.** A Fourier transform of seconds of audio loses time, and wavelet magnitudes phase, so an
MDCT and a tight STFT stand in their place. Clips are brought to one level, because their energy,
which all views keep, would be enough to tell them apart. Mappers are learned beside the encoders,
from vectors without gradient, instead of in a second stage and, with a weight of 1 / batch, in the
first; what they say is no part of the encoder that is written.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from audiossl import distributed
from audiossl.batches import DataFacts, WaveformBatch
from audiossl.configs import Count, Nonnegative, Positive
from audiossl.losses.contrast import cross_entropy
from audiossl.losses.pairs import Pairs, both_ways
from audiossl.methods.method import Losses, context_of
from audiossl.models.encoder import Context, FeatureEncoder
from audiossl.models.projected import Projected, ProjectedConfig
from audiossl.nn.lengths import valid_mask
from audiossl.nn.similarity import CosineSimilarity


@dataclass(frozen=True, kw_only=True)
class FrameProjectionsConfig:
    """The other two encoders, and the loss between the three."""

    kind: Literal["frame_projections"] = "frame_projections"
    basis: ProjectedConfig = ProjectedConfig(view="mdct")
    """Encoder of an orthonormal basis."""
    frame: ProjectedConfig = field(default_factory=lambda: ProjectedConfig(view="stft"))
    """Encoder of an overcomplete frame."""
    hidden: Count = 256
    """Dimension of the hidden layer of heads and mappers."""
    projection_dim: Count = 128
    """Dimension in which clips are compared."""
    temperature: Positive = 0.15
    """Temperature that divides cosines."""
    level: Positive = 0.05
    """Root mean square to which each clip is brought."""
    mappers: Nonnegative = 1.0
    """Weight of the error of mappers, which changes nothing but them."""


class FrameProjections(nn.Module):
    """An encoder, two of other views, heads, and mappers from the first to the others.

    Example:
        >>> encoder = Projected(ProjectedConfig(dim=16))
        >>> small = [ProjectedConfig(view=view, dim=8) for view in ("mdct", "stft")]
        >>> config = FrameProjectionsConfig(basis=small[0], frame=small[1], hidden=8)
        >>> method = FrameProjections(encoder, config, DataFacts())
        >>> batch = WaveformBatch(torch.randn(3, 8000), torch.full((3,), 8000))
        >>> sorted(method(batch, 0, torch.Generator()).metrics)
        ['accuracy', 'mapper_error']
    """

    def __init__(
        self, encoder: FeatureEncoder, config: FrameProjectionsConfig, data: DataFacts
    ) -> None:
        super().__init__()
        self.encoder, self.config, self.data = encoder, config, data
        self.others = nn.ModuleList([Projected(config.basis), Projected(config.frame)])
        dims = [encoder.clip_dim, config.basis.dim, config.frame.dim]
        self.heads = nn.ModuleList(_mlp(dim, config, config.projection_dim) for dim in dims)
        self.mappers = nn.ModuleList(_mlp(dims[0], config, dim) for dim in dims[1:])

    def forward(self, batch: WaveformBatch, step: int, generator: torch.Generator) -> Losses:
        """Compute the loss of finding each view of a clip from each other one."""
        context = context_of(step, self.data, generator)
        clips = self.clips(batch, context)
        vectors = [head(clip) for head, clip in zip(self.heads, clips, strict=True)]
        there = batch.lengths > 0
        rows = torch.arange(len(there), device=there.device) + distributed.rank() * len(there)
        views = [
            Pairs(vectors[a], vectors[b], there, rows, CosineSimilarity(), self.config.temperature)
            for a, b in ((0, 1), (0, 2), (1, 2))
        ]
        contrast = torch.stack([both_ways(pairs, cross_entropy) for pairs in views]).sum()
        error = self.mapper_error(clips)
        accuracy = torch.stack([pairs.accuracy for pairs in views]).mean()
        metrics = {"accuracy": accuracy, "mapper_error": error.detach()}
        return Losses(contrast + self.config.mappers * error, float(len(there)), metrics)

    def clips(self, batch: WaveformBatch, context: Context) -> list[Float[Tensor, "batch _"]]:
        """Encode the three views, at one level."""
        valid = valid_mask(batch.lengths, batch.waveforms.shape[1])
        waveforms = batch.waveforms.masked_fill(~valid, 0.0)
        power = waveforms.square().sum(dim=1) / batch.lengths.clamp(min=1)
        leveled = waveforms * (self.config.level / power.sqrt().clamp(min=1e-5))[:, None]
        return [
            encoder.encode_features(
                *encoder.features_of_leveled(leveled, batch.lengths), context
            ).clip
            for encoder in (self.encoder, *self.others)
        ]

    def mapper_error(self, clips: list[Float[Tensor, "batch _"]]) -> Float[Tensor, ""]:
        """Average over both mappers the absolute error of what they say."""
        known, *wanted = (clip.detach() for clip in clips)
        errors = [
            (mapper(known) - target).abs().mean()
            for mapper, target in zip(self.mappers, wanted, strict=True)
        ]
        return torch.stack(errors).mean()


def _mlp(dim: int, config: FrameProjectionsConfig, out: int) -> nn.Module:
    return nn.Sequential(nn.Linear(dim, config.hidden), nn.ReLU(), nn.Linear(config.hidden, out))
