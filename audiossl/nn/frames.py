"""Frames: a padded batch of vectors in time, as every encoder and teacher returns it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from audiossl.nn.pooling import masked_mean


@dataclass(frozen=True)
class Frames:
    """What an encoder makes of a batch of waveforms.

    Padding never changes a valid frame; what stands in the padding is undefined.

    >>> frames = Frames(torch.ones(1, 4, 2), torch.tensor([3]), frame_rate=50.0)
    >>> frames.clip, frames.times[0].item()
    (tensor([[1., 1.]]), 0.01)
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
    first_time: float | None = None
    """Seconds at the center of the first frame of a layer; None: half a frame. An output of a lower
    rate has the mean of the layers' frames at its center."""
    layer_convention: str = "the encoder's own output"
    """Point of the network at which `vectors` is taken: layer, before or behind which norm."""

    @property
    def clip(self) -> Float[Tensor, "batch clip_dim"]:
        """One vector a clip: the encoder's own, or the mean over valid frames."""
        return masked_mean(self.vectors, self.lengths) if self.pooled is None else self.pooled

    @property
    def lengths_of_layers(self) -> Int[Tensor, " batch"]:
        """Valid frames of each sequence in `layers`."""
        return self.lengths if self.layer_lengths is None else self.layer_lengths

    @property
    def times(self) -> Float[Tensor, " frames"]:
        """Seconds at the center of each frame of the output, in float64 whatever frames are."""
        rate = self.layer_rate or self.frame_rate
        later = (rate / self.frame_rate - 1) / 2 / rate
        return self._times(self.vectors, self.frame_rate, later)

    @property
    def times_of_layers(self) -> Float[Tensor, " layer_frames"]:
        """Seconds at the center of each frame of `layers`, in float64; without layers, `times`."""
        if not self.layers:
            return self.times
        return self._times(self.layers[0], self.layer_rate or self.frame_rate, 0.0)

    def _times(self, frames: Tensor, rate: float, later: float) -> Tensor:
        first = 0.5 / rate if self.first_time is None else self.first_time + later
        numbers = torch.arange(frames.shape[1], dtype=torch.float64, device=frames.device)
        return first + numbers / rate
