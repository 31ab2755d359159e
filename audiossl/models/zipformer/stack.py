"""A stack of layers at one rate, which may be lower than that of the frames around it."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from audiossl.models.zipformer.bypass import Bypass
from audiossl.models.zipformer.config import ZipformerConfig
from audiossl.models.zipformer.downsampling import Downsample, upsample
from audiossl.models.zipformer.layer import Layer
from audiossl.models.zipformer.positions import for_length
from audiossl.models.zipformer.training.step import StackStep

Outputs = tuple[Float[Tensor, "batch frames dim"], ...]
"""Output of each layer, first to last."""


@dataclass(frozen=True)
class StackContext:
    """Properties of the frames that a stack depends on."""

    positions: Float[Tensor, "differences encoding_dim"]
    """Encodings of at least the differences between frames."""
    padding: Bool[Tensor, "batch frames"]
    """Frames that are padding."""
    ends: Int[Tensor, " batch"] | None = None
    """Ends of the sequences: where given, averages over neighbors do not see what lies behind
    them."""


class Stack(nn.Module):
    """Layers at the rate of the frames they are given."""

    def __init__(self, config: ZipformerConfig, num_layers: int, kernel_size: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(config, kernel_size) for _ in range(num_layers))

    def forward(
        self, frames: Float[Tensor, "batch frames dim"], around: StackContext, step: StackStep
    ) -> tuple[Float[Tensor, "batch frames dim"], Outputs]:
        """Run one layer after the other; returns the last output, and that of each layer."""
        positions = for_length(around.positions, frames.shape[1])
        if step.positions is not None:
            positions = positions * step.positions
        frames = _masked(frames, step.features)
        outputs = []
        for layer, layer_step in zip(self.layers, step.layers, strict=True):
            frames = layer(frames, positions, around.padding, layer_step)
            frames = _masked(frames, step.features)
            outputs.append(frames)
        return frames, tuple(outputs)


class DownsampledStack(nn.Module):
    """Layers at a lower rate, mixed with what goes past them."""

    def __init__(
        self, config: ZipformerConfig, num_layers: int, kernel_size: int, stride: int
    ) -> None:
        super().__init__()
        self.downsample = Downsample(stride)
        self.encoder = Stack(config, num_layers, kernel_size)
        self.out_combiner = Bypass(config.dim)
        self.stride = stride

    def forward(
        self, frames: Float[Tensor, "batch frames dim"], around: StackContext, step: StackStep
    ) -> tuple[Float[Tensor, "batch frames dim"], Outputs]:
        """Average, run the layers, repeat, and mix with `frames`.

        Outputs of layers are repeated to the rate of `frames`, and not mixed with them.
        """
        inner = self.downsample(frames, around.ends)
        inner_around = StackContext(around.positions, around.padding[:, :: self.stride])
        _, inner_outputs = self.encoder(inner, inner_around, step)
        outputs = tuple(upsample(inner, self.stride, frames.shape[1]) for inner in inner_outputs)
        return self.out_combiner(frames, outputs[-1], step.combiner), outputs


def _masked(frames: Tensor, mask: Tensor | None) -> Tensor:
    return frames if mask is None else frames * mask
