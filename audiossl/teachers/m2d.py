"""M2D, Masked Modeling Duo: a Vision Transformer over 16 x 16 patches of a log-mel spectrum.

Conventions. Slaney's mel bands, natural logarithm, standardized by the two numbers that lie beside
the weights; chunks of as many frames as there are positions are encoded alone. Patches of one time
stand side by side, lowest band first, as in the authors' portable runtime: a frame every 160 ms,
6.25 Hz, of 5 x 768 values; the last one may reach beyond the waveform. Layers are counted from 1
and taken as they leave the block; the network's own output is behind the final norm.

The folder's name says what weights do not, as the authors have it: m2d_vit_base-80x608p16x16 that
there are 80 bands, and 80x608p16x16p32k that the sample rate is 32 kHz; without such a name it is
80 bands at 16 kHz. Niizumi et al., "Masked Modeling Duo" (2023).
"""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
import torchaudio.functional as audio
from jaxtyping import Float, Int
from torch import Tensor, nn

from audiossl.errors import UserError
from audiossl.nn.frames import Frames
from audiossl.nn.lengths import valid_mask
from audiossl.nn.pickled_arrays import SETTINGS
from audiossl.nn.weights import load_exactly, read_weights
from audiossl.teachers.layers import described, first_layers, own_state
from audiossl.teachers.mel import MelDialect, MelSpectrogram
from audiossl.teachers.teacher import FrozenTeacher
from audiossl.teachers.vit import Block

OLD_STATISTICS = (-7.1, 4.2)
"""Mean and deviation of the models of 2022, which do not say them."""
NAMES = ("cls_token", "pos_embed", "patch_embed.", "blocks.", "norm.", "norm_stats")
"""How names of the encoder's tensors begin."""
NAME = re.compile(r"-(?P<bands>\d+)x\d+p\d+x\d+(?:p(?P<rate>16|32)k)?")


@dataclass(frozen=True)
class M2dShape:
    """What differs between models."""

    dim: int
    """Dimension of a patch; a head has 64 of its values."""
    num_layers: int
    patch: tuple[int, int]
    """Bands and frames of a patch."""
    rows: int
    """Patches over frequency."""
    columns: int
    """Patches of a chunk over time."""
    sample_rate: int = 16000


def load(place: str, layer: int | None = None) -> "M2dTeacher":
    """Load a checkpoint.

    Args:
        place: The file, in the folder whose name says its shape; decoders are left out.
        layer: Which layer is `vectors`, from 1; None is the network's own output.

    Raises:
        UserError: The file is missing, would run code, or holds no M2D; there is no such layer.
    """
    dump = read_weights(Path(place), SETTINGS)
    content = dump.get("model", dump) if isinstance(dump, dict) else {}
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    state = {
        name: value
        for name, value in own_state(tensors, "module.ar.runtime.backbone.", "backbone.").items()
        if name.startswith(NAMES)
    }
    state.setdefault("norm_stats", torch.tensor(OLD_STATISTICS))
    patches, positions = state.get("patch_embed.proj.weight"), state.get("pos_embed")
    if patches is None or positions is None or patches.ndim != 4 or positions.ndim != 3:
        raise UserError(f"{place}: no M2D: it has no patch_embed.proj.weight and pos_embed")
    named = NAME.search(Path(place).absolute().parent.name)
    bands, rate = (int(named["bands"]), named["rate"]) if named else (80, "16")
    rows, count = bands // patches.shape[2], positions.shape[1] - 1
    if bands % patches.shape[2] or count % max(1, rows):
        raise UserError(
            f"{place}: {count} positions are not those of {bands} bands: keep the file in the "
            "folder of its authors, whose name says the shape, as in m2d_vit_base-80x608p16x16"
        )
    layers = {name.split(".")[1] for name in state if name.startswith("blocks.")}
    size = (patches.shape[2], patches.shape[3])
    shape = M2dShape(len(patches), len(layers), size, rows, count // rows, 1000 * int(rate or 16))
    teacher = M2dTeacher(shape)
    load_exactly(teacher, state, place)
    return teacher.keep_layers(layer)


class M2dTeacher(FrozenTeacher):
    """M2D's encoder, without masking."""

    def __init__(self, shape: M2dShape) -> None:
        super().__init__()
        self.sample_rate, self.dim = shape.sample_rate, shape.rows * shape.dim
        self.rows, self.columns, dim = shape.rows, shape.columns, shape.dim
        self.patch_frames, window = shape.patch[1], shape.sample_rate // 40
        self.frame_rate = 100.0 / self.patch_frames
        dialect = MelDialect(
            sample_rate=shape.sample_rate,
            window=window,
            hop_length=shape.sample_rate // 100,
            edges="mirror",
        )
        filters = audio.melscale_fbanks(
            window // 2 + 1,
            50.0,
            shape.sample_rate / 2,
            shape.rows * shape.patch[0],
            shape.sample_rate,
            norm="slaney",
            mel_scale="slaney",
        )
        self.mel = MelSpectrogram(dialect, filters)
        self.norm_stats = nn.Parameter(torch.tensor(OLD_STATISTICS))
        self.patch_embed = nn.Sequential()
        self.patch_embed.add_module("proj", nn.Conv2d(1, dim, shape.patch, shape.patch))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + shape.rows * shape.columns, dim))
        heads = max(1, dim // 64)
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(shape.num_layers))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.keep_layers(None)
        self.eval().requires_grad_(False)

    def keep_layers(self, layer: int | None) -> "M2dTeacher":
        """Make one layer `vectors` and drop those above it; None keeps all, and the own output.

        Raises:
            UserError: There is no such layer.
        """
        self.layer, self.blocks = layer, first_layers(self.blocks, layer, "m2d")
        self.convention = (
            f"m2d {described(layer, len(self.blocks))}, bands side by side; waveforms as they are"
        )
        return self

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Compute the frames of a batch of waveforms at `sample_rate`."""
        power, mel_lengths = self.mel(waveforms, lengths)
        logs = (power + torch.finfo(torch.float32).eps).log()
        logs = (logs - self.norm_stats[0]) / self.norm_stats[1]
        logs = logs.masked_fill(~valid_mask(mel_lengths, logs.shape[1])[..., None], 0.0)
        counts = -(-mel_lengths // self.patch_frames)
        times = max(1, int(counts.max()))
        size = min(times, self.columns)
        chunks = -(-times // size)
        missing = chunks * size * self.patch_frames - logs.shape[1]
        logs = F.pad(logs, (0, 0, 0, missing)).unflatten(1, (chunks, -1)).flatten(0, 1)
        valid = valid_mask(counts, chunks * size).unflatten(1, (chunks, size)).flatten(0, 1)
        nonempty = valid.any(dim=1)  # chunks of padding alone are not computed
        layers, final = self._transformed(logs[nonempty], valid[nonempty])

        def in_rows(outputs: Tensor) -> Tensor:
            stacked = outputs.unflatten(1, (self.rows, size)).transpose(1, 2).flatten(2)
            rows = stacked.new_zeros((len(nonempty), *stacked.shape[1:]))
            rows[nonempty] = stacked
            return rows.unflatten(0, (-1, chunks)).flatten(1, 2)[:, :times]

        outputs = tuple(in_rows(layer) for layer in layers)
        return Frames(
            vectors=in_rows(final) if self.layer is None else outputs[-1],
            lengths=counts,
            frame_rate=self.frame_rate,
            layers=outputs,
        )

    def _transformed(
        self, logs: Float[Tensor, "chunks frames bands"], valid: Tensor
    ) -> tuple[list[Tensor], Tensor]:
        """Run the blocks over each chunk: outputs for its patches, all times of a band together."""
        size = valid.shape[1]
        patches = self.patch_embed(logs.transpose(1, 2)[:, None]).flatten(2).transpose(1, 2)
        positions = self.pos_embed[:, 1:].unflatten(1, (self.rows, self.columns))[:, :, :size]
        token = (self.cls_token + self.pos_embed[:, :1]).expand(len(logs), -1, -1)
        hidden = torch.cat([token, patches + positions.flatten(1, 2)], dim=1)
        mask = F.pad(valid.repeat(1, self.rows), (1, 0), value=True)[:, None, None]
        layers = []
        for block in self.blocks:
            hidden = block(hidden, mask)
            layers.append(hidden[:, 1:])
        return layers, self.norm(hidden)[:, 1:]
