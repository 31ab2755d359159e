"""Several layers of a Zipformer side by side, standardized; a clip is statistics of them over time.

What a small network has learned is not in its last layer alone: speakers and instruments are read
better from lower layers, and all of them from how values vary beside their mean. Frames are the
outputs of chosen layers at 50 Hz, each dimension standardized by what training saw; the clip vector
is some of their statistics over time, standardized in the same way, so that no dimension outweighs
the others in a distance or a cosine.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from audiossl.configs import Whole
from audiossl.errors import UserError
from audiossl.models.chunking import encode_in_chunks, is_long
from audiossl.models.encoder import Context, FeatureEncoder
from audiossl.models.zipformer.config import ZipformerConfig
from audiossl.models.zipformer.model import Zipformer
from audiossl.models.zipformer.stack import DownsampledStack
from audiossl.nn.batch_norm import FrameNorm
from audiossl.nn.frames import Frames
from audiossl.nn.graphs import for_any_length
from audiossl.nn.lengths import check_lengths, valid_mask
from audiossl.nn.pooling import masked_mean

FILTER_BANK = 0
"""The layer below the first: the filter bank itself."""
_FIRST_FEATURE, _FEATURES = 4, 2
"""A frame's center is between its 4th and 5th feature frame, which stand for it."""

_LEAST_VARIANCE = 1e-4
_SHORTEST = 9 * 160 - 80
"""Samples of a frame: nine of the filter bank's, the last of them by half."""


Statistic = Literal["mean", "deviation", "log_deviation", "log_change"]


@dataclass(frozen=True, kw_only=True)
class LayeredConfig:
    """A Zipformer of which several layers are the output."""

    kind: Literal["layered"] = "layered"
    network: ZipformerConfig = ZipformerConfig()
    """Zipformer; its output is at 50 Hz."""
    layers: tuple[Whole, ...] = (0, 1)
    """Layers that are put side by side, counted from 1 across stacks; 0 is the filter bank."""
    clip: tuple[Statistic, ...] = ("mean", "deviation")
    """Statistics of each value of a frame that make the vector of a clip: its mean over time, its
    standard deviation or the logarithm of that, and the logarithm of the root mean square of
    differences from one frame to the next (log_change), which says how fast values vary."""

    def __post_init__(self) -> None:
        """Check that the layers exist.

        Raises:
            UserError: They do not, or the output is at 25 Hz.
        """
        most = sum(self.network.num_layers)
        if not self.layers or not all(0 <= layer <= most for layer in self.layers):
            raise UserError(
                f"layers {list(self.layers)}: the network has layers 1 to {most}, and 0 is its "
                "filter bank; give at least one"
            )
        if not self.clip:
            raise UserError("clip: a clip's vector has no statistics: give at least one")
        if self.network.output_stride != 1:
            raise UserError("layers are side by side at 50 Hz: set network.output_stride to 1")


class Layered(FeatureEncoder):
    """Waveforms at 16 kHz to standardized layers at 50 Hz, and their statistics.

    `Frames.vectors` are the chosen layers in order; `Frames.layers` are those of the network.

    Example:
        >>> network = ZipformerConfig(
        ...     dim=32, feed_forward_dim=32, num_layers=(1, 1), strides=(1, 2), kernel_sizes=(5, 5),
        ...     num_heads=2, query_dim=4, value_dim=4, position_dim=8, unmasked_dim=16, num_bins=80,
        ... )
        >>> encoder = Layered(LayeredConfig(network=network)).eval()
        >>> encoder(torch.randn(1, 16000), torch.tensor([16000])).vectors.shape
        torch.Size([1, 46, 112])
    """

    def __init__(self, config: LayeredConfig) -> None:
        super().__init__()
        self.config = config
        self.network = Zipformer(config.network)
        self.sample_rate, self.frame_rate = self.network.sample_rate, self.network.frame_rate
        self.chunk_unit, self.num_bins = self.network.chunk_unit, self.network.num_bins
        widths = [self._width(layer) for layer in config.layers]
        self.dim = sum(widths)
        self.norm = FrameNorm(self.dim, momentum=0.02)
        self.clip_norm = FrameNorm(self.clip_dim, momentum=0.02)
        self.requires_grad_(True)

    @property
    def clip_dim(self) -> int:
        """Statistics of each value of a frame."""
        return len(self.config.clip) * self.dim

    @property
    def units(self) -> tuple[nn.Module, ...]:
        """Those of the network."""
        return self.network.units

    def unread_parameters(self) -> Iterator[nn.Parameter]:
        """List those of the network, and those behind the highest layer that is read."""
        yield from self.network.unread_parameters()
        for module in _behind(self.network, max(self.config.layers)):
            yield from module.parameters()

    def features(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch frames bins"], Int[Tensor, " batch"]]:
        """Compute the network's front end: Kaldi's log-mel filter bank, at 100 Hz.

        A clip shorter than a frame is followed by as much silence as it lacks.
        """
        return self.network.features(*_of_a_frame(waveforms, lengths))

    def encode_features(
        self,
        features: Float[Tensor, "batch frames bins"],
        feature_lengths: Int[Tensor, " batch"],
        context: Context | None = None,
    ) -> Frames:
        """Run the network behind the front end, each sequence as if it were alone.

        Args:
            features: Filter banks, which may have been masked.
            feature_lengths: Valid frames of each sequence.
            context: How far training has come.
        """
        frames = self.network.encode_features(features, feature_lengths, context, padding="hidden")
        size = frames.vectors.shape[1]
        bank = _bank_at_frames(features, size)
        chosen = [bank if layer == FILTER_BANK else frames.layers[layer - 1]
                  for layer in self.config.layers]  # fmt: skip
        vectors = self.norm(torch.cat(chosen, dim=2).float(), valid_mask(frames.lengths, size))
        clips = torch.cat(
            [STATISTICS[name](vectors, frames.lengths) for name in self.config.clip], dim=1
        )
        whole = (frames.lengths > 0)[:, None]
        return Frames(
            vectors,
            frames.lengths,
            self.frame_rate,
            layers=frames.layers,
            pooled=self.clip_norm(clips[:, None], whole)[:, 0],
            first_time=frames.first_time,
        )

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Encode waveforms; beyond a minute, in evaluation, in overlapping chunks.

        Raises:
            UserError: Lengths do not belong to the batch.
        """
        check_lengths(lengths, *waveforms.shape)
        if is_long(self, waveforms):
            return encode_in_chunks(self, waveforms, lengths)
        return self.encode_features(*self.features(waveforms, lengths))

    def _width(self, layer: int) -> int:
        network = self.config.network
        return network.num_bins if layer == FILTER_BANK else network.dim


def _behind(network: Zipformer, highest: int) -> Iterator[nn.Module]:
    """List the modules that no layer up to the highest one depends on."""
    if highest == FILTER_BANK:
        yield network
    below = 0
    for stack in network.encoder.encoders:
        inner: Any = stack.encoder if isinstance(stack, DownsampledStack) else stack
        layers: nn.ModuleList = inner.layers
        yield from layers[max(0, highest - below) :]
        if isinstance(stack, DownsampledStack):
            if highest <= below:
                yield stack.downsample
            if highest <= below + len(layers):
                yield stack.out_combiner
        below += len(layers)


def _of_a_frame(
    waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
) -> tuple[Float[Tensor, "batch padded"], Int[Tensor, " batch"]]:
    """Put silence behind rows that are shorter than a frame; empty ones stay empty."""
    if not for_any_length() and not ((lengths > 0) & (lengths < _SHORTEST)).any():
        return waveforms, lengths
    missing = max(0, _SHORTEST - waveforms.shape[1])
    silent = waveforms.masked_fill(~valid_mask(lengths, waveforms.shape[1]), 0.0)
    return F.pad(silent, (0, missing)), torch.where(lengths > 0, lengths.clamp(min=_SHORTEST), 0)


def _deviation(
    vectors: Float[Tensor, "batch frames dim"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "batch dim"]:
    mean = masked_mean(vectors, lengths)
    variance = masked_mean((vectors - mean[:, None]).square(), lengths)
    # Of a single frame the deviation is 0, where the root has no gradient.
    return (variance + _LEAST_VARIANCE).sqrt()


def _log_change(
    vectors: Float[Tensor, "batch frames dim"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "batch dim"]:
    steps = (lengths - 1).clamp(min=0)
    # A row of one frame has no step; the mean over none is 0.
    changes = F.pad(vectors, (0, 0, 0, 1)).diff(dim=1).square()
    return 0.5 * (masked_mean(changes, steps) + _LEAST_VARIANCE).log()


STATISTICS: dict[Statistic, Callable[[Tensor, Tensor], Tensor]] = {
    "mean": masked_mean,
    "deviation": _deviation,
    "log_deviation": lambda vectors, lengths: _deviation(vectors, lengths).log(),
    "log_change": _log_change,
}
"""What each statistic of `LayeredConfig.clip` is, given frames and their numbers."""


def _bank_at_frames(
    features: Float[Tensor, "batch features bins"], size: int
) -> Float[Tensor, "batch size bins"]:
    """Average the two feature frames at the center of each frame."""
    centers = features[:, _FIRST_FEATURE:]
    missing = max(0, _FEATURES * size - centers.shape[1])
    padded = F.pad(centers, (0, 0, 0, missing)).transpose(1, 2)
    return F.avg_pool1d(padded, _FEATURES)[..., :size].transpose(1, 2)
