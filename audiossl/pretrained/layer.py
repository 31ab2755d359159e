"""One layer of an encoder as an encoder: what `#layer` behind a name asks for."""

from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from audiossl.errors import UserError
from audiossl.models.batching import encode_leveled
from audiossl.models.encoder import Encoder, presentation_of
from audiossl.nn.frames import Frames


class LayerOf(nn.Module):
    """An encoder whose output is one of the layers of another; clip vectors are means over time."""

    def __init__(self, encoder: nn.Module, layer: int, name: str) -> None:
        """Choose a layer.

        Args:
            encoder: In evaluation mode.
            layer: Counted from 1.
            name: What the user calls the encoder, for messages.

        Raises:
            UserError: There is no such layer.
        """
        super().__init__()
        self.encoder, self.layer = encoder, layer
        self.config: Any = getattr(encoder, "config", None)
        inner = cast(Encoder, encoder)
        self.sample_rate, self.presentation = inner.sample_rate, presentation_of(encoder)
        with torch.inference_mode():
            second = torch.zeros(1, self.sample_rate)
            frames = inner(second, torch.tensor([self.sample_rate]))
        if layer > len(frames.layers):
            there = f"has layers 1 to {len(frames.layers)}" if frames.layers else "has no layers"
            raise UserError(f"{name}: this encoder {there}; leave #{layer} out, or change it")
        self.frame_rate = frames.layer_rate or frames.frame_rate
        self.dim = int(frames.layers[layer - 1].shape[2])
        self.layer_convention = f"layer {layer} of {len(frames.layers)}"
        self.convention = f"{self.layer_convention}: {getattr(encoder, 'convention', self.config)}"

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Encode waveforms up to the layer."""
        return self._layer(cast(Encoder, self.encoder)(waveforms, lengths))

    def encode_leveled(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Encode waveforms whose level is not to be changed."""
        return self._layer(encode_leveled(cast(Encoder, self.encoder), waveforms, lengths))

    def _layer(self, frames: Frames) -> Frames:
        return Frames(
            vectors=frames.layers[self.layer - 1],
            lengths=frames.lengths_of_layers,
            frame_rate=self.frame_rate,
            layers=frames.layers[: self.layer],
            first_time=frames.first_time,
            layer_convention=self.layer_convention,
        )
