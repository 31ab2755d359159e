"""Frames: a padded batch of vectors in time, as every encoder and teacher returns it."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from audiossl.nn.pooling import masked_mean


@dataclass(frozen=True)
class Frames:
    """What an encoder makes of a batch of waveforms.

    Padding never changes a valid frame; what stands in the padding is undefined.
    """

    vectors: Float[Tensor, "batch frames dim"]
    """The encoder's output."""
    lengths: Int[Tensor, " batch"]
    """Valid frames of each sequence."""
    frame_rate: float
    """Frames a second."""
    layers: tuple[Float[Tensor, "batch layer_frames _"], ...] = ()
    """Output of each layer, first to last; dimensions may differ. At the same frame rate, unless
    `layer_rate` says otherwise."""
    pooled: Float[Tensor, "batch clip_dim"] | None = None
    """The encoder's own clip vector, where it defines one."""
    layer_rate: float | None = None
    """Frames a second of `layers`, where it is another one."""
    layer_lengths: Int[Tensor, " batch"] | None = None
    """Valid frames of each sequence in `layers`, where their rate is another one."""

    @property
    def clip(self) -> Float[Tensor, "batch clip_dim"]:
        """One vector a clip: the encoder's own, or the mean over valid frames."""
        return masked_mean(self.vectors, self.lengths) if self.pooled is None else self.pooled
