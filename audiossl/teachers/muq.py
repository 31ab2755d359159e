"""MuQ: a Conformer over mel spectra of music, whose blocks transformers has.

Conventions. 24 kHz, 128 mel bands in dB, standardized by two numbers in config.json; two residual
convolutions thin them to 25 frames a second. Layers are counted from 1 and taken as they leave the
block; the network's own output is behind the final norm. The public network has no masks in its
convolutions: each row is encoded alone, so that padding cannot reach it.

Zhu et al., "MuQ: Self-supervised music representation learning with mel residual vector
quantization" (2025); names of tensors are those of the authors' folders on the Hugging Face hub.
"""

from pathlib import Path
from typing import Any

import torch
import torchaudio.functional as audio
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import Wav2Vec2ConformerConfig
from transformers.models.wav2vec2_conformer.modeling_wav2vec2_conformer import (
    Wav2Vec2ConformerEncoder,
)

from audiossl.atomic_files import read_object, reading
from audiossl.errors import UserError
from audiossl.nn.frames import Frames
from audiossl.nn.weights import load_exactly
from audiossl.teachers.layers import LayerTap, described, first_layers, own_state, read_folder
from audiossl.teachers.mel import MelDialect, MelSpectrogram
from audiossl.teachers.teacher import FrozenTeacher

BANDS, THINNED = 128, 4
DIALECT = MelDialect(sample_rate=24000, window=2048, hop_length=240, edges="mirror")
FIXED = {"hop_length": 240, "n_mels": BANDS, "label_rate": 25, "features": ["melspec_2048"]}
"""Settings that no public model changes, and that are built in here."""


def load(place: str, layer: int | None = None) -> "MuqTeacher":
    """Load a folder.

    Args:
        place: The folder, with config.json and the weights; heads and quantizers are left out.
        layer: Which layer is `vectors`, from 1; None is the network's own output.

    Raises:
        UserError: The folder lacks one of them, or holds no MuQ; there is no such layer.
    """
    folder = Path(place)
    config = read_object(folder / "config.json", stat=dict, w2v2_config=dict)
    for name, expected in FIXED.items():
        if (value := config.get(name, expected)) != expected:
            raise UserError(f"{place}: a MuQ with {name} {value}, where only {expected} is known")
    state = {
        name: value
        for name, value in own_state(read_folder(folder), "model.").items()
        if name.startswith(("conv.", "conformer."))
    }
    if "conv.linear.weight" not in state:
        raise UserError(f"{place}: no MuQ: it has no conv.linear.weight")
    with reading(folder / "config.json", "settings of MuQ"):
        sizes = {
            **config["w2v2_config"],
            "hidden_size": len(state["conv.linear.weight"]),
            "num_hidden_layers": int(config.get("encoder_depth", 12)),
        }
        stats = [float(config["stat"].get(f"melspec_2048_{name}", 0.0)) for name in ("mean", "std")]
        teacher = MuqTeacher(Wav2Vec2ConformerConfig(**sizes), state["conv.conv.0.bn1.bias"], stats)
    load_exactly(teacher, state, place)
    return teacher.keep_layers(layer)


class MuqTeacher(FrozenTeacher):
    """MuQ's encoder, without masking."""

    def __init__(self, config: Any, channels: Tensor, stats: list[float]) -> None:
        """Build the network.

        Args:
            config: Of the Conformer.
            channels: As many values as the first convolutions have channels.
            stats: Mean and deviation of the spectra, in dB.
        """
        super().__init__()
        self.sample_rate, self.dim = DIALECT.sample_rate, int(config.hidden_size)
        self.frame_rate = self.sample_rate / (DIALECT.hop_length * THINNED)
        filters = audio.melscale_fbanks(1025, 0.0, 12000.0, BANDS, self.sample_rate)
        self.mel, self.stats = MelSpectrogram(DIALECT, filters), stats
        self.conv = _Thinning(len(channels), self.dim)
        self.conformer = Wav2Vec2ConformerEncoder(config).float()
        self.keep_layers(None)
        self.eval().requires_grad_(False)

    def keep_layers(self, layer: int | None) -> "MuqTeacher":
        """Make one layer `vectors` and drop those above it; None keeps all, and the own output.

        Raises:
            UserError: There is no such layer.
        """
        conformer: Any = self.conformer
        self.layer, conformer.layers = layer, first_layers(conformer.layers, layer, "muq")
        if layer is not None or not hasattr(self, "tap"):
            self.tap = LayerTap(conformer.layers)
        self.convention = f"muq {described(layer, len(conformer.layers))}; waveforms as they are"
        return self

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Compute the frames of a batch of waveforms at 24 kHz."""
        rows = [
            self._row(waveform[None, :length])
            for waveform, length in zip(waveforms, lengths.tolist(), strict=True)
        ]
        counts = torch.tensor([row[0].shape[0] for row in rows], device=waveforms.device)
        padded = [nn.utils.rnn.pad_sequence(list(parts), batch_first=True)
                  for parts in zip(*rows, strict=True)]  # fmt: skip
        *layers, final = padded
        return Frames(
            vectors=final if self.layer is None else layers[-1],
            lengths=counts,
            frame_rate=self.frame_rate,
            layers=tuple(layers),
        )

    def _row(self, waveform: Float[Tensor, "1 samples"]) -> list[Float[Tensor, "frames dim"]]:
        """Encode one waveform: the output of each block, and that of the network."""
        length = torch.tensor([waveform.shape[1]], device=waveform.device)
        # The frame that is centered on the end is left out, as in the source.
        count = int(self.mel.num_frames(length)) - 1
        if count < 1:
            nothing = waveform.new_zeros(0, self.dim)
            return [nothing] * (len(self.conformer.layers) + 1)
        power, _ = self.mel(waveform, length)
        decibels = 10.0 * power[:, :count].clamp(min=1e-10).log10()
        mels = (decibels - self.stats[0]) / (self.stats[1] or 1.0)
        hidden = self.conv(mels)
        self.tap.clear()
        final = self.conformer(hidden).last_hidden_state
        return [one[0] for one in (*self.tap.take(), final)]


class _Thinning(nn.Module):
    """From mel frames to a fourth of them."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(_Residual(1, channels), _Residual(channels, channels))
        self.linear = nn.Linear(channels * BANDS // 4, dim)

    def forward(
        self, mels: Float[Tensor, "batch frames bands"]
    ) -> Float[Tensor, "batch fewer dim"]:
        maps = self.conv(mels.transpose(1, 2)[:, None])
        return self.linear(maps.permute(0, 3, 1, 2).flatten(2))


class _Residual(nn.Module):
    """Two convolutions over bands and time, the first of stride 2, beside a third."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, padding=1, stride=2)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv3 = nn.Conv2d(channels_in, channels, 3, padding=1, stride=2)
        self.bn1, self.bn2, self.bn3 = (nn.BatchNorm2d(channels) for _ in range(3))

    def forward(
        self, maps: Float[Tensor, "batch channels bands frames"]
    ) -> Float[Tensor, "batch more half_bands half_frames"]:
        hidden = self.bn2(self.conv2(self.bn1(self.conv1(maps)).relu()))
        return (self.bn3(self.conv3(maps)) + hidden).relu()
