"""Small encoders of one modality of a pair: frames of any front end, text, scores, given vectors.

All are stacks of residual convolutions over time, because that is what trains in minutes on little
data; whatever is larger comes in as its frames (`recipes.code_matching.pairs`). Padding never
changes a valid frame.
"""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from audiossl.errors import UserError
from audiossl.models.build import EncoderConfig, build_encoder
from audiossl.models.encoder import Context, FeatureEncoder, check_has_frames
from audiossl.nn.batch_norm import FrameNorm
from audiossl.nn.frames import Frames
from audiossl.nn.lengths import valid_mask
from audiossl.python_objects import is_python, python_object


@dataclass(frozen=True, kw_only=True)
class ConvolutionsConfig:
    """Residual convolutions over time."""

    dim: int = 256
    """Number of channels, and dimension of the output."""
    strides: tuple[int, ...] = (2, 2, 2)
    """Strides of convolutions; their product should bring codes to about as many as concepts."""
    blocks: int = 1
    """Number of residual blocks after each stride (at least one in all)."""
    kernel: int = 5
    """Width of convolutions in frames; odd."""
    dropout: float = 0.1
    """Probability of dropping a channel of a frame in each block."""


@dataclass(frozen=True, kw_only=True)
class FramesConfig:
    """Encoder of frames: log-mel, or those of a frozen network."""

    kind: Literal["frames"] = "frames"
    convolutions: ConvolutionsConfig = ConvolutionsConfig()
    """Convolutions over the normalized frames."""


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """Encoder of characters or phones; one output frame a token by default."""

    kind: Literal["text"] = "text"
    convolutions: ConvolutionsConfig = ConvolutionsConfig(strides=(1,))
    """Convolutions over the embeddings of the tokens."""


@dataclass(frozen=True, kw_only=True)
class PianoRollConfig:
    """Encoder of piano rolls: patterns of pitch first, which move up and down, then time."""

    kind: Literal["piano_roll"] = "piano_roll"
    pitch_channels: int = 16
    """Number of channels of the two-dimensional convolutions."""
    convolutions: ConvolutionsConfig = ConvolutionsConfig()
    """Convolutions over time."""


@dataclass(frozen=True, kw_only=True)
class GivenConfig:
    """No encoder: vectors of a frozen network, normalized."""

    kind: Literal["given"] = "given"


ModalityConfig: TypeAlias = (
    FramesConfig | TextConfig | PianoRollConfig | GivenConfig | EncoderConfig
)
PITCHES = 88
"""Keys of a piano, A0 to C8: the width of a roll's channels."""


class ModalityEncoder(nn.Module):
    """Values of a modality and their lengths to Frames."""

    dim: int
    """Dimension of the output."""
    stride: int = 1
    """Rows to one frame of the output."""

    def forward(
        self,
        values: Shaped[Tensor, "batch length *dims"],
        lengths: Int[Tensor, " batch"],
        context: Context | None = None,  # noqa: ARG002
    ) -> Frames:
        """Encode frames or tokens; rows behind `lengths` are padding."""
        return self.encode(values, lengths)

    def encode(
        self, values: Shaped[Tensor, "batch length *dims"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Encode without a context: what a subclass defines, unless it uses one."""
        raise NotImplementedError


def build_modality_encoder(config: ModalityConfig, size: int, frame_rate: float) -> ModalityEncoder:
    """Make the untrained network that `config` describes.

    Args:
        config: Which, and how large.
        size: Dimension of the modality's frames, or number of different tokens.
        frame_rate: Frames a second, or 1 where there is no time.

    Example:
        >>> import torch
        >>> encoder = build_modality_encoder(TextConfig(), size=30, frame_rate=1.0).eval()
        >>> encoder(torch.tensor([[3, 1, 4]]), torch.tensor([3])).vectors.shape
        torch.Size([1, 3, 256])
    """
    match config:
        case FramesConfig():
            return FramesEncoder(config, size, frame_rate)
        case TextConfig():
            return TextEncoder(config, size, frame_rate)
        case PianoRollConfig():
            return PianoRollEncoder(config, size, frame_rate)
        case GivenConfig():
            return GivenEncoder(size, frame_rate)
        case _:
            own = python_object(config.kind) if is_python(config.kind) else None
            if isinstance(own, type) and issubclass(own, ModalityEncoder):
                made: ModalityEncoder = own(config, size, frame_rate)
                return made
            return FeatureModality(build_encoder(config), size, frame_rate)


class FramesEncoder(ModalityEncoder):
    """Normalized frames, then convolutions."""

    def __init__(self, config: FramesConfig, size: int, frame_rate: float) -> None:
        super().__init__()
        self.dim, self.frame_rate = config.convolutions.dim, frame_rate
        self.norm = FrameNorm(size)
        self.convolutions = Convolutions(size, config.convolutions)
        self.stride = self.convolutions.stride

    def encode(
        self, values: Float[Tensor, "batch length dim"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Encode frames."""
        normalized = self.norm(values, valid_mask(lengths, values.shape[1]))
        return self.convolutions(normalized, lengths, self.frame_rate)


class TextEncoder(ModalityEncoder):
    """Embedded tokens, then convolutions."""

    def __init__(self, config: TextConfig, size: int, frame_rate: float) -> None:
        super().__init__()
        self.dim, self.frame_rate = config.convolutions.dim, frame_rate
        self.embedding = nn.Embedding(size, self.dim)
        self.convolutions = Convolutions(self.dim, config.convolutions)
        self.stride = self.convolutions.stride

    def encode(self, values: Int[Tensor, "batch length"], lengths: Int[Tensor, " batch"]) -> Frames:
        """Encode tokens."""
        return self.convolutions(self.embedding(values), lengths, self.frame_rate)


class PianoRollEncoder(ModalityEncoder):
    """Convolutions over pitch and time, then over time."""

    def __init__(self, config: PianoRollConfig, size: int, frame_rate: float) -> None:
        super().__init__()
        if size % PITCHES:
            raise UserError(
                f"a piano roll has {PITCHES} pitches a channel, but frames here have {size} "
                "dimensions: choose the encoder 'frames' for it"
            )
        self.dim, self.frame_rate = config.convolutions.dim, frame_rate
        channels = config.pitch_channels
        # Two octaves and a half to see a chord, then thinned to thirds.
        self.chords = nn.Conv2d(size // PITCHES, channels, (1, 29), padding=(0, 14))
        self.thinned = nn.Conv2d(channels, channels, (3, 4), stride=(1, 4), padding=(1, 0))
        self.convolutions = Convolutions(channels * (PITCHES // 4), config.convolutions)
        self.stride = self.convolutions.stride

    def encode(
        self, values: Float[Tensor, "batch length dim"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Encode rolls: (pitch, channel) of each frame, one channel after another."""
        valid = valid_mask(lengths, values.shape[1])
        masked = values.masked_fill(~valid[..., None], 0.0)
        rolls = masked.unflatten(2, (-1, PITCHES)).transpose(1, 2)
        chords = F.gelu(self.chords(rolls)) * valid[:, None, :, None]
        patterns = F.gelu(self.thinned(chords)).transpose(1, 2).flatten(2)
        return self.convolutions(patterns, lengths, self.frame_rate)


class GivenEncoder(ModalityEncoder):
    """Normalized vectors, as they were given."""

    def __init__(self, size: int, frame_rate: float) -> None:
        super().__init__()
        self.dim, self.frame_rate = size, frame_rate
        self.norm = FrameNorm(size)

    def encode(
        self, values: Float[Tensor, "batch length dim"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Normalize vectors."""
        normalized = self.norm(values, valid_mask(lengths, values.shape[1]))
        return Frames(normalized, lengths, self.frame_rate)


class FeatureModality(ModalityEncoder):
    """Any encoder of sound, behind its front end: frames of a modality are its features."""

    def __init__(self, encoder: FeatureEncoder, size: int, frame_rate: float) -> None:
        super().__init__()
        if encoder.num_bins != size:
            raise UserError(
                f"{type(encoder).__name__} reads frames of {encoder.num_bins} values, but these "
                f"have {size}: change the front end of the pairs (modalities.<name>.encoder), or "
                "that of the encoder"
            )
        check_has_frames(encoder, "code_matching")
        self.network = encoder
        self.dim, self.stride = encoder.dim, round(encoder.feature_rate / encoder.frame_rate)
        self.frame_rate = frame_rate / self.stride

    def forward(
        self,
        values: Float[Tensor, "batch length dim"],
        lengths: Int[Tensor, " batch"],
        context: Context | None = None,
    ) -> Frames:
        """Encode features."""
        frames = self.network.encode_features(values, lengths, context)
        return Frames(frames.vectors, frames.lengths, self.frame_rate)


class Convolutions(nn.Module):
    """A stem, then strides with residual blocks after each."""

    def __init__(self, size: int, config: ConvolutionsConfig) -> None:
        super().__init__()
        if config.kernel % 2 == 0:
            raise UserError(f"kernel {config.kernel}: give an odd one, so that it has a middle")
        self.stride = math.prod(config.strides)
        self.stem = nn.Linear(size, config.dim)
        self.layers = nn.ModuleList()
        for stride in config.strides:
            if stride > 1:
                self.layers.append(_Thinned(config.dim, stride, config.kernel))
            self.layers.extend(_Residual(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.dim)

    def forward(
        self,
        vectors: Float[Tensor, "batch length size"],
        lengths: Int[Tensor, " batch"],
        frame_rate: float,
    ) -> Frames:
        """Convolve; padding is zero before every convolution, as behind the end of a clip."""
        hidden = self.stem(vectors)
        for layer in self.layers:
            hidden = hidden * valid_mask(lengths, hidden.shape[1])[..., None]
            hidden, lengths = layer(hidden, lengths)
        return Frames(self.norm(hidden), lengths, frame_rate / self.stride)


class _Thinned(nn.Module):
    def __init__(self, dim: int, stride: int, kernel: int) -> None:
        super().__init__()
        self.stride = stride
        self.convolution = nn.Conv1d(dim, dim, kernel, stride, padding=kernel // 2)

    def forward(self, hidden: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        thinned = self.convolution(hidden.mT).mT
        return thinned, (lengths + self.stride - 1).div(self.stride, rounding_mode="floor")


class _Residual(nn.Module):
    def __init__(self, config: ConvolutionsConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.dim)
        self.convolution = nn.Conv1d(
            config.dim, config.dim, config.kernel, padding=config.kernel // 2
        )
        self.dropout = nn.Dropout(config.dropout)
        self.mix = nn.Linear(config.dim, config.dim)

    def forward(self, hidden: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        valid = valid_mask(lengths, hidden.shape[1])[..., None]
        convolved = F.gelu(self.convolution((self.norm(hidden) * valid).mT).mT)
        return hidden + self.dropout(self.mix(convolved)), lengths
