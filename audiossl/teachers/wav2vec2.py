"""What wav2vec 2.0 and its relatives share, whoever's implementation they come in.

A stack of convolutions without padding thins a waveform to 50 frames a second; a Transformer, whose
positions come from one or more wide convolutions, does the rest. Padding reaches valid frames in
three places of the public implementations, and is kept out of them here: the statistics of the
waveform, those of the first convolution's group norm, and stacked positional convolutions.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from audiossl.errors import UserError
from audiossl.nn.frames import Frames
from audiossl.nn.graphs import for_any_length
from audiossl.nn.lengths import valid_mask
from audiossl.teachers.teacher import FrozenTeacher, zero_padding


class ConvolutionalTeacher(FrozenTeacher):
    """Convolutions over waveforms, a projection of their frames, and a Transformer."""

    normalize: bool
    """Whether waveforms are standardized."""
    epsilon: float
    """Constant that is added to their variances."""
    convolutions: "ConvolutionStack"
    norms: "list[ValidGroupNorm]"
    """Group norms of the convolutions."""

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Compute the frames of a batch of waveforms at `sample_rate`."""
        return self.encode_features(*self.features(waveforms, lengths))

    def features(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch frames dim"], Int[Tensor, " batch"]]:
        """Compute what enters the Transformer, before its positions, and how much of it is valid.

        It is what the authors mask in pretraining.
        """
        if self.normalize:
            waveforms = standardized(waveforms, lengths, self.epsilon)
        waveforms, seen = self.convolutions.prepared(waveforms, lengths)
        for norm in self.norms:
            norm.lengths = self.convolutions.num_frames(seen, depth=1)
        return self.projected(waveforms, seen), self.convolutions.num_frames(lengths)

    @abstractmethod
    def projected(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch frames dim"]:
        """Run the convolutions and the projection."""

    @abstractmethod
    def encode_features(
        self, features: Float[Tensor, "batch frames dim"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Run the Transformer."""


@dataclass(frozen=True)
class ConvolutionStack:
    """Shapes of convolutions without padding that follow one another."""

    kernels: Sequence[int]
    """Widths, first to last."""
    strides: Sequence[int]
    """Steps, first to last."""

    @property
    def stride(self) -> int:
        """Samples between frames."""
        stride = 1
        for step in self.strides:
            stride *= step
        return stride

    @property
    def window(self) -> int:
        """Samples that one frame sees; 400 for the usual stack."""
        window = 1
        for kernel, step in zip(reversed(self.kernels), reversed(self.strides), strict=True):
            window = (window - 1) * step + kernel
        return window

    def num_frames(self, lengths: Int[Tensor, " batch"], depth: int | None = None) -> Tensor:
        """Count the frames behind the first `depth` convolutions, or behind all of them."""
        for kernel, step in list(zip(self.kernels, self.strides, strict=True))[:depth]:
            lengths = ((lengths - kernel) // step + 1).clamp(min=0)
        return lengths

    def prepared(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch longer"], Int[Tensor, " batch"]]:
        """Silence the padding and lengthen what is too short for one frame.

        Rows lengthened so go through the network like others; their frames are not valid.
        """
        waveforms = zero_padding(waveforms, lengths)
        waveforms = F.pad(waveforms, (0, max(0, self.window - waveforms.shape[1])))
        return waveforms, lengths.clamp(min=self.window)


def standardized(
    waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"], epsilon: float
) -> Float[Tensor, "batch samples"]:
    """Bring each row to zero mean and unit variance over its valid samples; padding stays silent.

    SPEAR's extraction code takes the statistics over the whole padded batch, which is the same for
    one row alone; here a row's result does not hang on its neighbors.
    """
    count = lengths.clamp(min=1)[:, None]
    waveforms = zero_padding(waveforms, lengths)
    centered = zero_padding(waveforms - waveforms.sum(dim=1, keepdim=True) / count, lengths)
    variance = centered.square().sum(dim=1, keepdim=True) / count
    return centered * torch.rsqrt(variance + epsilon)


def read_normalize(word: str, source: str) -> bool:
    """Read what a user says about standardization: "true" or "false".

    Raises:
        UserError: It is neither.
    """
    if word not in ("true", "false"):
        raise UserError(f"{source}: normalize={word}: expected true or false")
    return word == "true"


class ValidGroupNorm(nn.Module):
    """A group norm with a group per channel, whose statistics leave out the padding.

    The teacher sets `lengths` before each batch; None stands for no padding.
    """

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.norm = norm
        self.lengths: Int[Tensor, " batch"] | None = None

    def forward(
        self, channels: Float[Tensor, "batch channels frames"]
    ) -> Float[Tensor, "batch channels frames"]:
        """Normalize each channel over the valid frames of its row."""
        if self.lengths is None:
            return self.norm(channels)
        if not for_any_length() and bool((self.lengths >= channels.shape[2]).all()):
            return self.norm(channels)  # it is faster
        # In float32, as torch's own norms are under autocast.
        channels = channels.float()
        valid = valid_mask(self.lengths, channels.shape[2])[:, None]
        count = self.lengths.clamp(min=1)[:, None, None]
        centered = channels - (channels * valid).sum(dim=2, keepdim=True) / count
        variance = (centered * valid).square().sum(dim=2, keepdim=True) / count
        normalized = centered * torch.rsqrt(variance + self.norm.eps)
        return normalized * self.norm.weight[:, None] + self.norm.bias[:, None]


def with_valid_norms(convolutions: nn.Module) -> list[ValidGroupNorm]:
    """Replace the group norms of a network's convolutions, in place; return the new ones."""
    replaced = []
    for module in list(convolutions.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.GroupNorm) and child.num_groups == child.num_channels:
                replaced.append(ValidGroupNorm(child))
                setattr(module, name, replaced[-1])
    return replaced
