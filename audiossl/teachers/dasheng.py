"""Dasheng: a Vision Transformer over patches of four mel frames, written from its public package.

Conventions. Waveforms as they are, 64 mel bands in dB, a batch norm over bands; 25 frames a second.
There is no attention between chunks of 252 frames (10.08 s). Layers are counted from 1 and taken as
they leave the block; `vectors`, unless a layer is asked for, is the output behind the final norm,
which is what the package returns. Where we leave the package: the floor of the spectrogram, 120 dB
below its loudest point, is each waveform's own, not the whole batch's.

Dinkel et al., "Scaling up masked audio encoder learning for general audio classification" (2024).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import torchaudio.functional as audio
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from audiossl.atomic_files import read_object
from audiossl.errors import UserError
from audiossl.nn.frames import Frames
from audiossl.nn.lengths import valid_mask
from audiossl.nn.weights import load_exactly, read_weights
from audiossl.teachers.layers import described, first_layers, own_state, read_folder
from audiossl.teachers.mel import MelDialect, MelSpectrogram
from audiossl.teachers.teacher import FrozenTeacher
from audiossl.teachers.vit import Block

NUM_MELS = 64
PATCH = 4
"""Mel frames a patch."""
DIALECT = MelDialect(sample_rate=16000, window=512, hop_length=160, edges="mirror")
DYNAMIC_RANGE = 120.0
"""dB."""
FIXED = {
    "n_mels": NUM_MELS,
    "n_fft": 512,
    "win_size": 512,
    "hop_size": 160,
    "f_min": 0,
    "f_max": 8000,
    "center": True,
    "patch_size": [NUM_MELS, PATCH],
    "patch_stride": [NUM_MELS, PATCH],
    "mlp_ratio": 4,
    "pooling": "mean",
}
"""Settings of the package that no public model changes, and that are built in here."""


@dataclass(frozen=True)
class DashengShape:
    """What differs between the public models."""

    dim: int
    """768, 1280 or 1536."""
    num_layers: int
    """12, 32 or 40."""
    num_heads: int
    """12, 16 or 24."""
    chunk: int = 252
    """Frames of a chunk, between which there is attention."""


def load(place: str, layer: int | None = None) -> "DashengTeacher":
    """Load a state dict of the public package, as its authors publish it.

    Args:
        place: A file (.pt, or safetensors), or a folder as on the Hugging Face hub; without a
            "config" in it, the shape is that of the public model of the same width.
        layer: Which layer is `vectors`, from 1; None is the model's own output.

    Raises:
        UserError: The file is missing, would run code, or holds no Dasheng that is known here.
    """
    state, config = _read(Path(place))
    renamed = {
        name.replace("patch_embed.proj.", "patch_embed.").replace("init_bn.1.", "init_bn."): value
        for name, value in state.items()
        if not name.startswith(("front_end.", "outputlayer."))
    }
    teacher = DashengTeacher(_shape(renamed, config, place))
    load_exactly(teacher, renamed, place)
    return teacher.keep_layers(layer)


class DashengTeacher(FrozenTeacher):
    """Dasheng's encoder, without masking."""

    def __init__(self, shape: DashengShape) -> None:
        super().__init__()
        self.sample_rate, self.frame_rate = DIALECT.sample_rate, 25.0
        self.dim, self.chunk = shape.dim, shape.chunk
        self.mel = MelSpectrogram(
            DIALECT, audio.melscale_fbanks(257, 0.0, 8000.0, NUM_MELS, DIALECT.sample_rate)
        )
        self.init_bn = nn.BatchNorm1d(NUM_MELS)
        self.patch_embed = nn.Conv2d(1, shape.dim, (NUM_MELS, PATCH), (NUM_MELS, PATCH))
        self.time_pos_embed = nn.Parameter(torch.zeros(1, shape.dim, 1, shape.chunk))
        self.freq_pos_embed = nn.Parameter(torch.zeros(1, shape.dim, 1, 1))
        blocks = (Block(shape.dim, shape.num_heads) for _ in range(shape.num_layers))
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(shape.dim, eps=1e-6)
        self.keep_layers(None)
        self.eval().requires_grad_(False)

    def keep_layers(self, layer: int | None) -> "DashengTeacher":
        """Make one layer `vectors` and drop those above it; None keeps all, and the model's output.

        Raises:
            UserError: There is no such layer.
        """
        self.layer, self.blocks = layer, first_layers(self.blocks, layer, "dasheng")
        self.convention = f"dasheng {described(layer, len(self.blocks))}; waveforms as they are"
        return self

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Compute the frames of a batch of waveforms at 16 kHz."""
        decibels, mel_lengths = self._decibels(waveforms, lengths)
        mels = self.init_bn(decibels.transpose(1, 2))
        mels = F.pad(mels, (0, max(0, PATCH - mels.shape[2])))
        patches = self.patch_embed(mels[:, None])[:, :, 0].transpose(1, 2)
        num_frames = mel_lengths // PATCH
        layers, final = self._transformed(patches, valid_mask(num_frames, patches.shape[1]))
        return Frames(
            vectors=final if self.layer is None else layers[-1],
            lengths=num_frames,
            frame_rate=self.frame_rate,
            layers=layers,
        )

    def _decibels(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch frames mels"], Int[Tensor, " batch"]]:
        power, num_frames = self.mel(waveforms, lengths)
        decibels = 10 * power.clamp(min=1e-10).log10()
        valid = valid_mask(num_frames, decibels.shape[1])[..., None]
        loudest = decibels.masked_fill(~valid, -torch.inf).amax(dim=(1, 2), keepdim=True)
        return torch.maximum(decibels, loudest - DYNAMIC_RANGE), num_frames

    def _transformed(
        self, patches: Float[Tensor, "batch frames dim"], valid: Bool[Tensor, "batch frames"]
    ) -> tuple[tuple[Tensor, ...], Float[Tensor, "batch frames dim"]]:
        """Run the blocks over each chunk alone: outputs of all blocks, and of the final norm."""
        batch, num_frames, dim = patches.shape
        size = min(self.chunk, num_frames)
        missing = -num_frames % size
        valid = F.pad(valid, (0, missing)).view(-1, size)
        chunks = F.pad(patches, (0, 0, 0, missing)).view(-1, size, dim)
        nonempty = valid.any(dim=1)  # chunks of padding alone are not computed

        def in_rows(outputs: Tensor) -> Tensor:
            rows = outputs.new_zeros(chunks.shape)
            rows[nonempty] = outputs
            return rows.view(batch, -1, dim)[:, :num_frames]

        positions = self.time_pos_embed[0, :, 0, :size].T + self.freq_pos_embed[0, :, 0].T
        hidden, mask = chunks[nonempty] + positions, valid[nonempty][:, None, None, :]
        layers = []
        for block in self.blocks:
            hidden = block(hidden, mask)
            layers.append(in_rows(hidden))
        return tuple(layers), in_rows(self.norm(hidden))


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if path.is_dir():
        config = read_object(path / "config.json")
        return own_state(read_folder(path), "encoder."), dict(config.get("encoder_kwargs", {}))
    dump = read_weights(path)
    if not isinstance(dump, dict):
        raise UserError(f'{path}: no Dasheng: expected {{"model": tensors by name}}')
    return dump.get("model", dump), dict(dump.get("config", {}))


def _shape(state: dict[str, Tensor], config: dict[str, Any], source: str) -> DashengShape:
    for name, expected in FIXED.items():
        value = config.get(name, expected)
        value = list(value) if isinstance(value, tuple) else value
        if value != expected:
            raise UserError(
                f"{source}: a Dasheng with {name} = {value}, where only {expected} is known here"
            )
    embedding = state.get("time_pos_embed")
    if embedding is None or embedding.ndim != 4:
        raise UserError(f"{source}: no Dasheng: it has no time_pos_embed of four axes")
    dim, chunk = embedding.shape[1], embedding.shape[3]
    layers = {name.split(".")[1] for name in state if name.startswith("blocks.")}
    num_heads = config.get("num_heads", {768: 12, 1280: 16, 1536: 24}.get(dim))
    if num_heads is None:
        raise UserError(f"{source}: no Dasheng of a known width ({dim}), and no config in the file")
    return DashengShape(dim, len(layers), int(num_heads), chunk)
