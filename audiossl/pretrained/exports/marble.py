"""An encoder for MARBLE: `marble/encoders/<name>/model.py`, to be laid into its checkout.

Its encoders take (batch, samples) and return the layers, which `LayerSelector` picks from: layers
are counted from 0, and all are of one shape. Where these differ in width, the output is the only
one.
"""

import re
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from audiossl.pretrained.certificate import Difference, compare_outputs
from audiossl.pretrained.exports.carried import write_beside
from audiossl.pretrained.exports.forms import Export, check_frames, layers_of
from audiossl.pretrained.load import load_encoder

USE = """
    cp -r <this folder> <checkout of MARBLE>/marble/encoders/

and in a config of a probe

    encoder:
      class_path: marble.encoders.<name of this folder>.model.AudioSSL_Encoder

It needs this package.
"""
MODEL = '''"""Encoder for MARBLE."""

from pathlib import Path

from marble.core.base_encoder import BaseEncoder

from audiossl import load_encoder
from audiossl.pretrained.exports.marble import Layers


class AudioSSL_Encoder(BaseEncoder):
    NAME = "FOLDER"
    SAMPLING_RATE = RATE
    TOKEN_RATE = FRAMES_A_SECOND
    NUM_FEATURES = WIDTH

    def __init__(self, pre_trained_folder=None, train_mode="freeze", **options):
        super().__init__()
        self.sample_rate = self.SAMPLING_RATE
        self.layers = Layers(load_encoder(pre_trained_folder or SOURCE), train_mode)

    def forward(self, x, *arguments, **options):
        return self.layers(x)
'''


class Layers(nn.Module):
    """Waveforms to layers, frozen or not."""

    def __init__(self, encoder: Any, train_mode: str = "freeze") -> None:
        super().__init__()
        self.encoder, self.frozen = encoder, train_mode == "freeze"
        encoder.requires_grad_(not self.frozen)

    def train(self, mode: bool = True) -> "Layers":
        """Keep a frozen encoder in evaluation."""
        super().train(mode and not self.frozen)
        return self

    def forward(
        self, waveforms: Float[Tensor, "batch *one samples"]
    ) -> tuple[Float[Tensor, "batch frames dim"], ...]:
        """Encode waveforms of one duration."""
        batch = waveforms.flatten(1, -2).mean(1) if waveforms.ndim > 2 else waveforms
        lengths = torch.full((len(batch),), batch.shape[1], device=batch.device)
        return tuple(layers_of(self.encoder(batch, lengths)))


def write(place: Path, export: Export) -> list[Difference]:
    """Write the folder, load the encoder from it and compare.

    Raises:
        UserError: The encoder has no frames.
    """
    check_frames(export, "MARBLE")
    encoder = export.encoder
    with torch.inference_mode():
        second = torch.zeros(1, encoder.sample_rate)
        frames = encoder(second, torch.tensor([second.shape[1]]))
    layers = layers_of(frames)
    layered = layers[0] is not frames.vectors and frames.layer_rate is not None
    facts = {
        "FOLDER": export.output.name,
        "RATE": str(encoder.sample_rate),
        "FRAMES_A_SECOND": f"{frames.layer_rate if layered else encoder.frame_rate:g}",
        "WIDTH": str(layers[0].shape[2]),
    }
    model = re.sub(rf"\b(?:{'|'.join(facts)})\b", lambda match: facts[match[0]], MODEL)
    again = Layers(
        load_encoder(write_beside(place, {"model.py": model, "__init__.py": ""}, export))
    )

    def encode(waveforms: Tensor, _: Tensor) -> dict[str, Tensor]:
        return {f"layer {n}": layer for n, layer in enumerate(again(waveforms), start=1)}

    def expected(waveforms: Tensor, _: Tensor) -> dict[str, Tensor]:
        lengths = torch.full((len(waveforms),), waveforms.shape[1])
        layers = layers_of(encoder(waveforms, lengths))
        return {f"layer {n}": layer for n, layer in enumerate(layers, start=1)}

    return compare_outputs(encoder, encode, reference=expected)
