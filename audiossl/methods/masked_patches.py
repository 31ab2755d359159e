"""Hidden blocks of a spectrogram are filled in from what is around them (group masked modeling).

Groups of neighboring cells of each clip are replaced by noise, by the clip's mean, or by the same
cells of another clip of the batch ("aliens"), at this clip's level and contrast. All frames go
through the encoder; a light head predicts the features beneath each of its frames, and the loss is
the absolute error in hidden cells alone. Features are standardized clip by clip for all of this, so
that any front end will do: predicting the mean has an error of about 0.8.

Source: Atito, Awais, Kittler, GMML (arXiv 2205.14986), and ASiT (arXiv 2211.13189) for
spectrograms. Ours: blocks lie on no grid of patches, the head reads the encoder's output instead of
a mean of four layers, and a clip's kind of corruption hides the same share whatever it is.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from audiossl import distributed
from audiossl.batches import DataFacts, WaveformBatch
from audiossl.configs import Share
from audiossl.errors import UserError
from audiossl.methods.distortions import partners
from audiossl.methods.method import Losses, context_of
from audiossl.models.encoder import FeatureEncoder, check_has_frames
from audiossl.nn.block_masks import BlockMaskConfig, block_masks
from audiossl.nn.frames import Frames
from audiossl.nn.lengths import valid_mask


@dataclass(frozen=True, kw_only=True)
class CorruptionConfig:
    """What is hidden, and behind what."""

    masks: BlockMaskConfig = BlockMaskConfig()
    """Blocks that are hidden."""
    noise: Share = 0.35
    """Probability that a clip's blocks are replaced by Gaussian noise."""
    aliens: Share = 0.3
    """Probability that a clip's blocks are replaced by those of another clip; else by its mean."""

    def __post_init__(self) -> None:
        """Check that the probabilities fit.

        Raises:
            UserError: They do not.
        """
        if self.noise + self.aliens > 1:
            raise UserError(
                f"noise {self.noise} and aliens {self.aliens}: give probabilities whose sum is at "
                "most 1"
            )


@dataclass(frozen=True, kw_only=True)
class MaskedPatchesConfig(CorruptionConfig):
    """What is hidden, and behind what, for the head that fills it in."""

    kind: Literal["masked_patches"] = "masked_patches"


@dataclass(frozen=True)
class Corrupted:
    """Features of which groups of cells are replaced."""

    features: Float[Tensor, "batch frames bins"]
    targets: Float[Tensor, "batch frames bins"]
    """Whole features, standardized clip by clip."""
    hidden: Bool[Tensor, "batch frames bins"]
    """Replaced cells."""


class MaskedPatches(nn.Module):
    """An encoder, and a head that predicts features from its frames.

    Example:
        >>> from audiossl.models.patch_transformer import PatchTransformer, PatchTransformerConfig
        >>> encoder = PatchTransformer(PatchTransformerConfig(dim=16, heads=2, layers=1))
        >>> method = MaskedPatches(encoder, MaskedPatchesConfig(), DataFacts())
        >>> waves = WaveformBatch(torch.randn(2, 16000), torch.tensor([16000, 12000]))
        >>> method(waves, 0, torch.Generator().manual_seed(0)).total.shape
        torch.Size([])
    """

    kind = "masked_patches"

    def __init__(self, encoder: FeatureEncoder, config: CorruptionConfig, data: DataFacts) -> None:
        super().__init__()
        check_has_frames(encoder, self.kind)
        if encoder.learns_features:
            raise UserError(
                f"method {self.kind} predicts features, and those of {type(encoder).__name__} are "
                "learned: they would become easy to predict; choose another --method.kind"
            )
        self.encoder, self.config, self.data = encoder, config, data
        self.hop = max(1, round(encoder.feature_rate / encoder.frame_rate))
        cells = self.hop * encoder.num_bins
        self.head = nn.Sequential(
            nn.LayerNorm(encoder.dim), nn.Linear(encoder.dim, encoder.dim), nn.GELU(),
            nn.Linear(encoder.dim, cells),
        )  # fmt: skip

    def forward(self, batch: WaveformBatch, step: int, generator: torch.Generator) -> Losses:
        """Compute the error of what is predicted where features are hidden."""
        features, lengths = self.encoder.features(batch.waveforms, batch.lengths)
        self.check_width(features.shape[1])
        changed = self.corrupted(features, lengths, generator)
        frames = self.encoder.encode_features(
            changed.features, lengths, context_of(step, self.data, generator)
        )
        valid = valid_mask(frames.lengths * self.hop, features.shape[1])[..., None]
        predicted = self.filled_in(frames, features.shape[1])
        return _error(predicted, changed.targets, changed.hidden & valid)

    def check_width(self, frames: int) -> None:
        """Refuse crops of which no patch is made.

        Raises:
            UserError: They are shorter than a patch.
        """
        if frames < self.hop:
            raise UserError(
                f"method {self.kind}: crops of {frames} feature frames are shorter than a "
                f"patch of {self.hop}: give longer crops (data.max_duration), leave out shorter "
                "cuts (prepare: min_duration), or take smaller patches"
            )

    def corrupted(
        self,
        features: Float[Tensor, "batch frames bins"],
        lengths: Int[Tensor, " batch"],
        generator: torch.Generator,
    ) -> "Corrupted":
        """Replace groups of cells."""
        mean, deviation = statistics(features, lengths)
        targets = (features - mean) / deviation
        hidden = self.hidden(lengths, features, generator)
        fills = self.fills(targets, lengths, generator)
        return Corrupted(torch.where(hidden, fills * deviation + mean, features), targets, hidden)

    def filled_in(self, frames: Frames, size: int) -> Float[Tensor, "batch size bins"]:
        """Predict the features beneath each frame; zeros where none is."""
        predicted = self.head(frames.vectors).unflatten(2, (self.hop, -1)).flatten(1, 2)
        return F.pad(predicted, (0, 0, 0, size - predicted.shape[1]))

    def hidden(
        self,
        lengths: Int[Tensor, " batch"],
        features: Float[Tensor, "batch frames bins"],
        generator: torch.Generator,
    ) -> Bool[Tensor, "batch frames bins"]:
        """Draw which cells are hidden, clip by clip: a draw takes as many numbers as it needs."""
        seeds = distributed.draw_rows(
            len(lengths),
            lambda rows: torch.randint(2**31, (rows,), generator=generator, device=lengths.device),
        )
        _, num_frames, num_bins = features.shape
        masks = [
            block_masks(
                length[None],
                num_frames,
                num_bins,
                self.config.masks,
                torch.Generator().manual_seed(seed),
            )
            for length, seed in zip(lengths, seeds.tolist(), strict=True)
        ]
        return torch.cat(masks)

    def fills(
        self,
        targets: Float[Tensor, "batch frames bins"],
        lengths: Int[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Float[Tensor, "batch frames bins"]:
        """Make what hidden cells are replaced by: noise, cells of another clip, or zeros."""
        size = targets.shape[1:]
        kinds, noise = (
            distributed.draw_rows(len(targets), draw)
            for draw in (
                lambda rows: torch.rand(rows, generator=generator, device=targets.device),
                lambda rows: torch.randn(rows, *size, generator=generator, device=targets.device),
            )
        )
        others, alone = self.partners(len(targets), targets.device)
        places = (
            torch.arange(size[0], device=targets.device) % lengths[others].clamp(min=1)[:, None]
        )
        aliens = targets[others[:, None], places]
        is_noise = kinds < self.config.noise
        is_alien = ~is_noise & (kinds < self.config.noise + self.config.aliens) & ~alone
        fills = torch.where(is_noise[:, None, None], noise, 0.0)
        return torch.where(is_alien[:, None, None], aliens, fills)

    def partners(
        self, count: int, device: torch.device
    ) -> tuple[Int[Tensor, " batch"], Bool[Tensor, " batch"]]:
        """Number the row that gives each its aliens, and mark those that have none."""
        return partners(count, device)


def statistics(
    features: Float[Tensor, "batch frames bins"], lengths: Int[Tensor, " batch"]
) -> tuple[Float[Tensor, "batch 1 1"], Float[Tensor, "batch 1 1"]]:
    """Compute mean and standard deviation of each clip over its valid cells."""
    valid = valid_mask(lengths, features.shape[1])[..., None]
    count = (lengths.clamp(min=1) * features.shape[2])[:, None, None]
    mean = features.masked_fill(~valid, 0.0).sum(dim=(1, 2), keepdim=True) / count
    squares = (features - mean).masked_fill(~valid, 0.0).square()
    return mean, (squares.sum(dim=(1, 2), keepdim=True) / count).sqrt().clamp(min=1e-5)


def _error(
    predicted: Float[Tensor, "batch frames bins"],
    targets: Float[Tensor, "batch frames bins"],
    hidden: Bool[Tensor, "batch frames bins"],
) -> Losses:
    count = hidden.sum()
    errors = (predicted.float() - targets).abs().masked_fill(~hidden, 0.0).sum()
    of_mean = targets.abs().masked_fill(~hidden, 0.0).sum() / count
    metrics = {"error_of_the_mean": of_mean.detach()}
    return Losses(errors / count.clamp(min=1), float(count), metrics)
