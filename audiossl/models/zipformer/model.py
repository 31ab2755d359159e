"""Zipformer: stacks of layers at several frame rates behind a convolutional front end.

Source: "Zipformer: a faster and better encoder for automatic speech recognition" (Yao et al.,
ICLR 2024), in the shape that SPEAR gives it: all stacks of one width, 50 Hz. In evaluation it is
numerically equal to the authors' network, and names of parameters are theirs.
"""

import math
from collections.abc import Iterator
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from audiossl.features.kaldi_fbank import PADDING, KaldiFbank, KaldiFbankConfig
from audiossl.models.chunking import encode_in_chunks, is_long
from audiossl.models.conv_subsampling import LEAST_FRAMES, ConvSubsampling
from audiossl.models.encoder import Context, FeatureEncoder
from audiossl.models.zipformer.config import ZipformerConfig
from audiossl.models.zipformer.downsampling import Downsample
from audiossl.models.zipformer.initialization import initialize
from audiossl.models.zipformer.layer import Layer
from audiossl.models.zipformer.positions import relative_positions
from audiossl.models.zipformer.stack import DownsampledStack, Outputs, Stack, StackContext
from audiossl.models.zipformer.training.sampling import sample_step
from audiossl.models.zipformer.training.schedules import FINISHED, Progress
from audiossl.models.zipformer.training.step import TrainingStep, evaluation_step
from audiossl.nn.frames import Frames
from audiossl.nn.lengths import check_lengths, padding_mask

INNER_RATE = 50.0
"""Frames a second between stacks."""
FIRST_TIME = 0.045
"""Seconds at the center of the first frame of a layer: it sees the first nine of the filter bank,
of which each is centered 5 ms after its number times 10 ms."""


class Zipformer(FeatureEncoder):
    """Waveforms at 16 kHz to frames at 50 Hz, or at 25 Hz with `output_stride` 2.

    `Frames.layers` are the outputs of all layers, repeated to 50 Hz where they are of a lower rate;
    at 25 Hz, their valid frames are counted by `Frames.layer_lengths`.

    Example:
        >>> config = ZipformerConfig(
        ...     dim=32, feed_forward_dim=32, num_layers=(1, 1), strides=(1, 2), kernel_sizes=(5, 5),
        ...     num_heads=2, query_dim=4, value_dim=4, position_dim=8, unmasked_dim=16, num_bins=80,
        ... )
        >>> frames = Zipformer(config).eval()(torch.randn(2, 16000), torch.tensor([16000, 8000]))
        >>> frames.vectors.shape, frames.lengths, len(frames.layers)
        (torch.Size([2, 46, 32]), tensor([46, 21]), 2)
    """

    def __init__(self, config: ZipformerConfig) -> None:
        super().__init__()
        self.config = config
        self.sample_rate = 16000
        self.frame_rate = INNER_RATE / config.output_stride
        self.dim, self.num_bins = config.dim, config.num_bins
        # Groups of frames that become one, in all stacks, begin where chunks begin.
        self.chunk_unit = math.lcm(*config.strides, config.output_stride) * 320
        self.fbank = KaldiFbank(KaldiFbankConfig(num_bins=config.num_bins))
        self.encoder_embed = ConvSubsampling(config.num_bins, config.dim)
        self.encoder = Stacks(config)
        self.evaluation_step = evaluation_step(config)
        self.apply(initialize)

    @property
    def units(self) -> tuple[nn.Module, ...]:
        """The front end and the stacks: as `checkpoint_stacks`, sharding is by stack."""
        return (self.encoder_embed, *self.encoder.encoders)

    def unread_parameters(self) -> Iterator[nn.Parameter]:
        """List those that only public checkpoints have a place for."""
        for module in self.modules():
            if isinstance(module, Layer):
                yield module.bypass_scale

    def features(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch frames bins"], Int[Tensor, " batch"]]:
        """Compute Kaldi's log-mel filter bank, at 100 Hz."""
        return self.fbank(waveforms, lengths), self.fbank.lengths(lengths)

    def encode_features(
        self,
        features: Float[Tensor, "batch frames bins"],
        feature_lengths: Int[Tensor, " batch"],
        context: Context | None = None,
        *,
        padding: Literal["seen", "hidden"] = "seen",
    ) -> Frames:
        """Run the network behind the front end; T feature frames make (T - 7) // 2 frames.

        A sequence of fewer than 9 feature frames has no valid frame, and a batch of such no frame.

        Args:
            features: Filter banks, which may have been masked.
            feature_lengths: Valid frames of each sequence.
            context: How far training has come, and what it draws from; without it, as at its end.
                Of no use in evaluation.
            padding: What the network makes of features behind the end of a sequence. They get no
                attention. The authors' network lets the last frames of a sequence see some of them,
                through a convolution of the front end and through averages over neighbors: "seen".
                If "hidden", each sequence is encoded as if it were alone.

        Raises:
            UserError: Lengths do not belong to the batch.
        """
        check_lengths(feature_lengths, *features.shape[:2])
        missing = LEAST_FRAMES - features.shape[1]
        if missing > 0:
            features = F.pad(features, (0, 0, 0, missing), value=PADDING)
        lengths = torch.div(feature_lengths - 7, 2, rounding_mode="floor").clamp(min=0)
        ends = lengths if padding == "hidden" else None
        step = self._training_step(features, context)
        frames = self.encoder_embed(features, step.front, ends)
        vectors, layers = self.encoder(frames, lengths, ends, step)
        if missing > 0:
            vectors, layers = vectors[:, :0], tuple(layer[:, :0] for layer in layers)
        stride = self.config.output_stride
        return Frames(
            vectors=vectors,
            lengths=torch.div(lengths + stride - 1, stride, rounding_mode="floor"),
            frame_rate=self.frame_rate,
            layers=layers,
            layer_rate=INNER_RATE,
            layer_lengths=lengths,
            first_time=FIRST_TIME,
        )

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Encode waveforms, each as if it were alone: padding changes no valid frame.

        Beyond a minute, in evaluation, they are encoded in overlapping chunks.

        Raises:
            UserError: Lengths do not belong to the batch.
        """
        check_lengths(lengths, *waveforms.shape)
        if is_long(self, waveforms):
            return encode_in_chunks(self, waveforms, lengths)
        return self.encode_features(*self.features(waveforms, lengths), padding="hidden")

    def _training_step(self, features: Tensor, context: Context | None) -> TrainingStep:
        if not (self.training and self.config.machinery):
            return self.evaluation_step
        progress = Progress.of(context) if context else FINISHED
        generator = context.generator if context else None
        length = (features.shape[1] - 7) // 2
        return sample_step(
            self.config, progress, batch=len(features), length=length, device=features.device,
            generator=generator,
        )  # fmt: skip


class Stacks(nn.Module):
    """All stacks, one after the other, and the last change of rate."""

    def __init__(self, config: ZipformerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoders = nn.ModuleList(
            Stack(config, layers, kernel)
            if stride == 1
            else DownsampledStack(config, layers, kernel, stride)
            for layers, kernel, stride in zip(
                config.num_layers, config.kernel_sizes, config.strides, strict=True
            )
        )
        if config.output_stride > 1:
            self.downsample_output = Downsample(config.output_stride)

    def forward(
        self,
        frames: Float[Tensor, "batch frames dim"],
        lengths: Int[Tensor, " batch"],
        ends: Int[Tensor, " batch"] | None,
        step: TrainingStep,
    ) -> tuple[Float[Tensor, "batch fewer dim"], Outputs]:
        """Run the stacks; returns the output, and the outputs of all layers at 50 Hz."""
        positions = relative_positions(frames.shape[1], self.config.position_dim, frames.device)
        around = StackContext(
            positions.to(frames.dtype), padding_mask(lengths, frames.shape[1]), ends
        )
        layers: list[Tensor] = []
        saves = self.config.checkpoint_stacks and self.training and torch.is_grad_enabled()
        for stack, stack_step in zip(self.encoders, step.stacks, strict=True):
            if saves:
                # Chance was drawn before: nothing random happens twice.
                frames, outputs = checkpoint(
                    stack, frames, around, stack_step, use_reentrant=False, preserve_rng_state=False
                )
            else:
                frames, outputs = stack(frames, around, stack_step)
            layers.extend(outputs)
        if self.config.output_stride > 1:
            frames = self.downsample_output(frames, ends)
        return frames, tuple(layers)
