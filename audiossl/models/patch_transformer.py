"""A transformer over patches of a log-mel spectrogram.

The filter bank is cut into patches of some frames x some bins, each of which is mapped to a token;
tokens of all times and bands attend to one another. Positions in time are relative (rotations of
queries and keys), so that any length works and a shift in time changes nothing; those in frequency
are learned. A frame of the output is the concatenation of the tokens of one time over bands.

Sources: Gong, Chung, Glass, "AST: Audio Spectrogram Transformer" (2021) for patches and
normalization; Niizumi et al., "Masked Modeling Duo" (2023) for frames that are concatenated bands;
Su et al., "RoFormer" (2021) for rotations. The layers are those of ViT (Dosovitskiy et al. 2021):
normalization first, GELU.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from audiossl.configs import Count, Positive
from audiossl.errors import UserError
from audiossl.features.kaldi_fbank import KaldiFbank, KaldiFbankConfig
from audiossl.models.encoder import Context, FeatureEncoder
from audiossl.nn.frames import Frames
from audiossl.nn.lengths import check_lengths, valid_mask
from audiossl.nn.pooling import masked_mean


@dataclass(frozen=True, kw_only=True)
class PatchTransformerConfig:
    """A spectrogram transformer; the defaults are the tiny size of ViT (5.4 million parameters).

    Small is dim 384 and 6 heads, base dim 768 and 12 heads, both of 12 layers.
    """

    kind: Literal["patch_transformer"] = "patch_transformer"
    front_end: KaldiFbankConfig = KaldiFbankConfig()
    """Log-mel filter bank."""
    patch_frames: Count = 16
    """Number of frames in a patch; they set the frame rate of the output."""
    patch_bins: Count = 16
    """Number of mel bins in a patch; it must divide the bins of the front end."""
    dim: Count = 192
    """Dimension of a token."""
    heads: Count = 3
    """Number of attention heads of a layer; it must divide the dimension."""
    layers: Count = 12
    """Number of layers."""
    mean: float = -4.27
    """Mean of the filter bank, which is subtracted; -4.27 is that of AudioSet."""
    deviation: Positive = 4.57
    """Standard deviation of the filter bank; the centered values are divided by twice of it."""

    def __post_init__(self) -> None:
        """Check that the sizes fit.

        Raises:
            UserError: They do not.
        """
        if self.front_end.num_bins % self.patch_bins:
            raise UserError(
                f"patch_bins {self.patch_bins} does not divide the {self.front_end.num_bins} bins "
                "of the front end"
            )
        if self.dim % (2 * self.heads):
            raise UserError(f"dim {self.dim} is no even multiple of heads {self.heads}")


class PatchTransformer(FeatureEncoder):
    """Waveforms to frames of `dim` x bands values, at 6.25 Hz with patches of 16 frames.

    The clip vector is the mean of the tokens over time, and over bands too: of `dim` values.

    Example:
        >>> encoder = PatchTransformer(PatchTransformerConfig(layers=1)).eval()
        >>> frames = encoder(torch.randn(1, 32000), torch.tensor([32000]))
        >>> frames.vectors.shape, frames.clip.shape, frames.frame_rate
        (torch.Size([1, 13, 1536]), torch.Size([1, 192]), 6.25)
    """

    def __init__(self, config: PatchTransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.sample_rate = config.front_end.sample_rate
        self.front_end = KaldiFbank(config.front_end)
        self.frame_rate = self.front_end.frame_rate / config.patch_frames
        self.num_bins, self.feature_rate = config.front_end.num_bins, self.front_end.frame_rate
        self.bands = self.num_bins // config.patch_bins
        self.dim = config.dim * self.bands
        self.patch_embedding = nn.Linear(config.patch_frames * config.patch_bins, config.dim)
        self.band_embedding = nn.Parameter(torch.randn(self.bands, config.dim) * 0.02)
        self.layers = nn.ModuleList(_Layer(config.dim, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dim)
        self.apply(_initialize)

    @property
    def clip_dim(self) -> int:
        """Dimension of a token."""
        return self.config.dim

    @property
    def units(self) -> tuple[nn.Module, ...]:
        """The layers."""
        return tuple(self.layers)

    def features(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch frames bins"], Int[Tensor, " batch"]]:
        """Compute the filter bank, normalized, with zeros behind the end of each waveform."""
        frames, counts = self.front_end(waveforms, lengths), self.front_end.lengths(lengths)
        normal = (frames - self.config.mean) / (2 * self.config.deviation)
        return normal.masked_fill(~valid_mask(counts, frames.shape[1])[..., None], 0.0), counts

    def encode_features(
        self,
        features: Float[Tensor, "batch frames bins"],
        feature_lengths: Int[Tensor, " batch"],
        context: Context | None = None,  # noqa: ARG002 - depends on neither chance nor progress
    ) -> Frames:
        """Encode normalized filter banks; a patch that is begun counts.

        Raises:
            UserError: Lengths do not belong to the batch.
        """
        check_lengths(feature_lengths, *features.shape[:2])
        outputs, lengths = self.encode_patches(features, feature_lengths)
        layers = tuple(tokens.flatten(2) for tokens in outputs)
        clip = masked_mean(outputs[-1].mean(dim=2), lengths)
        return Frames(layers[-1], lengths, self.frame_rate, layers=layers, pooled=clip)

    def encode_patches(
        self, features: Float[Tensor, "batch frames bins"], feature_lengths: Int[Tensor, " batch"]
    ) -> tuple[list[Float[Tensor, "batch times bands dim"]], Int[Tensor, " batch"]]:
        """Encode normalized filter banks to tokens.

        Returns:
            Tokens behind each layer, the last ones normalized; and how many times of each clip are
            valid.
        """
        config = self.config
        valid = valid_mask(feature_lengths, features.shape[1])[..., None]
        count = (features.shape[1] + config.patch_frames - 1) // config.patch_frames
        missing = count * config.patch_frames - features.shape[1]
        patches = F.pad(features.masked_fill(~valid, 0.0), (0, 0, 0, missing))
        patches = patches.unflatten(1, (count, config.patch_frames))
        patches = patches.unflatten(3, (self.bands, config.patch_bins)).transpose(2, 3)
        tokens = self.patch_embedding(patches.flatten(3)) + self.band_embedding
        lengths = feature_lengths.add(config.patch_frames - 1).div(
            config.patch_frames, rounding_mode="floor"
        )
        shape, hidden = tokens.shape, tokens.flatten(1, 2)
        attended = valid_mask(lengths, shape[1]).repeat_interleave(self.bands, dim=1)
        # A clip without a frame attends to itself, so that it gives numbers.
        attended = attended | ~attended.any(dim=1, keepdim=True)
        times = torch.arange(shape[1], device=hidden.device).repeat_interleave(self.bands)
        turns = rotations(times, config.dim // config.heads)
        outputs = []
        for layer in self.layers:
            hidden = layer(hidden, attended, turns)
            outputs.append(hidden.view(shape))
        return [*outputs[:-1], self.norm(outputs[-1])], lengths


class _Layer(nn.Module):
    """Self-attention and two dense layers, each behind a normalization and beside a bypass."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.dense_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.projections = nn.Linear(dim, 3 * dim)
        self.output = nn.Linear(dim, dim)
        self.dense = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(
        self,
        tokens: Float[Tensor, "batch tokens dim"],
        attended: Bool[Tensor, "batch tokens"],
        turns: tuple[Float[Tensor, "tokens head_dim"], Float[Tensor, "tokens head_dim"]],
    ) -> Float[Tensor, "batch tokens dim"]:
        projected = self.projections(self.attention_norm(tokens))
        query, key, value = projected.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(
            rotated(query, turns), rotated(key, turns), value, attn_mask=attended[:, None, None]
        )
        tokens = tokens + self.output(mixed.transpose(1, 2).flatten(2))
        return tokens + self.dense(self.dense_norm(tokens))


def rotations(
    positions: Int[Tensor, " tokens"], dim: int
) -> tuple[Float[Tensor, "tokens dim"], Float[Tensor, "tokens dim"]]:
    """Compute cosines and sines of the angles by which a position turns each pair of dimensions."""
    rates = torch.exp(torch.arange(0, dim, 2, device=positions.device) * (-math.log(1e4) / dim))
    angles = (positions[:, None] * rates).repeat(1, 2)
    return angles.cos(), angles.sin()


def rotated(
    vectors: Float[Tensor, "*batch tokens dim"],
    turns: tuple[Float[Tensor, "tokens dim"], Float[Tensor, "tokens dim"]],
) -> Float[Tensor, "*batch tokens dim"]:
    """Turn vectors by their positions: products of two then depend on the difference alone."""
    cosines, sines = (turn.to(vectors.dtype) for turn in turns)
    first, second = vectors.chunk(2, dim=-1)
    return vectors * cosines + torch.cat([-second, first], dim=-1) * sines


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
