"""EAT, the Efficient Audio Transformer: post-norm blocks over 16 x 16 patches of a filter bank.

Conventions. 128 mel bins (Hanning windows, the waveform minus its mean), minus -4.268, over twice
4.569, which are AudioSet's mean and deviation; rests of less than a patch are left out, where the
authors fill up to a length that they choose for each data set. Patches of one time are averaged
over frequency: a frame every 160 ms, 6.25 Hz. Layers are counted from 1 and taken as they leave the
block, behind its own norm; the network's own output is that of the last one. The clip vector is
that of the token that stands before the patches, as the authors have it.

Chen et al., "EAT: Self-supervised pre-training with efficient audio transformer" (2024); names of
tensors are those of their fairseq checkpoints, and of their folders on the Hugging Face hub.
"""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from audiossl.errors import UserError
from audiossl.nn.frames import Frames
from audiossl.nn.lengths import valid_mask
from audiossl.nn.pickled_arrays import SETTINGS
from audiossl.nn.weights import load_exactly, read_weights
from audiossl.teachers.kaldi import filter_bank, num_frames
from audiossl.teachers.layers import first_layers, own_state, read_folder
from audiossl.teachers.teacher import FrozenTeacher
from audiossl.teachers.vit import Block

BINS, PATCH = 128, 16
BANDS = BINS // PATCH
MEAN, DEVIATION = -4.268, 4.569
RENAMED = {
    "modality_encoders.IMAGE.": "",
    "local_encoder.proj.": "patches.",
    "fixed_positional_encoder.positions": "positions",
    "extra_tokens": "token",
    "context_encoder.norm.": "norm.",
    "pre_norm.": "norm.",
}
"""Part of a name there -> here."""


def load(place: str, layer: int | None = None) -> "EatTeacher":
    """Load a checkpoint.

    Args:
        place: The file of fairseq, {"model": tensors by name}, or a folder with config.json and
            safetensors; decoders and heads are left out.
        layer: Which layer is `vectors`, from 1; None is the network's own output.

    Raises:
        UserError: The file is missing, would run code, or holds no EAT; there is no such layer.
    """
    state = _read(Path(place))
    missing = [name for name in ("norm.weight", "positions", "token") if name not in state]
    if missing or state["positions"].ndim != 3:
        raise UserError(f"{place}: no EAT: it has no {', '.join(missing) or 'list of positions'}")
    blocks = {name.split(".")[1] for name in state if name.startswith("blocks.")}
    teacher = EatTeacher(len(state["norm.weight"]), len(blocks), state["positions"].shape[1])
    load_exactly(teacher, state, place)
    return teacher.keep_layers(layer)


class EatTeacher(FrozenTeacher):
    """EAT's encoder, without masking."""

    def __init__(self, dim: int, num_layers: int, num_positions: int) -> None:
        """Build the network.

        Args:
            dim: 768 or 1024; a head has 64 of them.
            num_layers: 12 or 24.
            num_positions: Patches that have a position, over all bands.
        """
        super().__init__()
        self.sample_rate, self.frame_rate, self.dim = 16000, 100.0 / PATCH, dim
        self.patches = nn.Conv2d(1, dim, PATCH, PATCH)
        self.positions = nn.Parameter(torch.zeros(1, num_positions, dim))
        self.token = nn.Parameter(torch.zeros(1, 1, dim))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        heads = max(1, dim // 64)
        self.blocks = nn.ModuleList(Block(dim, heads, pre_norm=False) for _ in range(num_layers))
        self.longest = num_positions // BANDS
        self.keep_layers(None)
        self.eval().requires_grad_(False)

    def keep_layers(self, layer: int | None) -> "EatTeacher":
        """Make one layer `vectors` and drop those above it; None keeps all.

        Raises:
            UserError: There is no such layer.
        """
        self.layer, self.blocks = layer, first_layers(self.blocks, layer, "eat")
        where = f"layer {layer}" if layer else f"output of {len(self.blocks)} layers"
        self.convention = f"eat {where}, mean over frequency; clip vector: its token"
        return self

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Compute the frames of a batch of waveforms at 16 kHz.

        Raises:
            UserError: They are longer than there are positions (two minutes in public models).
        """
        bank = filter_bank(waveforms, lengths, num_bins=BINS, window="hanning", centered=True)
        bank = F.pad((bank - MEAN) / (2 * DEVIATION), (0, 0, 0, max(0, PATCH - bank.shape[1])))
        counts = num_frames(lengths) // PATCH
        patches = self.patches(bank[:, None])  # batch, dim, times, bands
        times = patches.shape[2]
        if times > self.longest:
            raise UserError(
                f"eat has positions for {self.longest / self.frame_rate:g} s, and was given "
                f"{times / self.frame_rate:g} s at once: use shorter chunks"
            )
        hidden = patches.flatten(2).transpose(1, 2) + self.positions[:, : times * BANDS]
        hidden = self.norm(torch.cat([self.token.expand(len(hidden), -1, -1), hidden], dim=1))
        # A row without a frame goes through the network like others, and is not valid.
        valid = valid_mask(counts.clamp(min=1), times).repeat_interleave(BANDS, dim=1)
        mask = F.pad(valid, (1, 0), value=True)[:, None, None]
        layers = []
        for block in self.blocks:
            hidden = block(hidden, mask)
            layers.append(hidden[:, 1:].unflatten(1, (times, BANDS)).mean(dim=2))
        return Frames(
            vectors=layers[-1],
            lengths=counts,
            frame_rate=self.frame_rate,
            layers=tuple(layers),
            pooled=hidden[:, 0] * (counts > 0)[:, None],
        )


def _read(path: Path) -> dict[str, Tensor]:
    """Read the tensors of the encoder, by the names that they have here."""
    content: Any = read_folder(path) if path.is_dir() else read_weights(path, SETTINGS)
    state = content.get("model", content) if isinstance(content, dict) else {}
    tensors = {str(name): value for name, value in state.items() if isinstance(value, Tensor)}
    renamed = {}
    for full, value in own_state(tensors, "model.").items():
        name = full
        for there, here in RENAMED.items():
            name = name.replace(there, here)
        if name.startswith(("patches.", "positions", "token", "norm.", "blocks.")):
            renamed[name] = value
    return renamed
