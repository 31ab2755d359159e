"""musicnn: a network that tags music, from the PyPI wheel of that name, before its tags.

0.8 million weights (ISC) trained on songs of the Million Song Dataset and tags of Last.fm: a
trained teacher for music. Source: Pons and Serra, "musicnn: Pre-trained convolutional neural
networks for music audio tagging" (2019), and the released network.

Conventions. 16 kHz as it is; 96 mel bands, log10(1 + 10000 power), 62.5 frames a second. A front
end of wide filters over frequency (timbre) and long ones over time (rhythm), then three layers of
convolutions over time; a frame is the outputs of these three side by side. `Frames.pooled` is the
last hidden layer, over maximum and mean of front end and layers in time; it was trained on 3 s and
is given the whole clip here.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
import torchaudio.functional as audio
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from audiossl.nn.frames import Frames
from audiossl.nn.lengths import valid_mask
from audiossl.nn.pooling import masked_max, masked_mean
from audiossl.nn.tensorflow_checkpoint import read_checkpoint
from audiossl.nn.weights import load_exactly, named_tensors, read_weights
from audiossl.nn.wheels import file_of_wheel
from audiossl.teachers.mel import MelDialect, MelSpectrogram
from audiossl.teachers.teacher import FrozenTeacher

WHEEL, FILE = "musicnn==0.1.0", "musicnn/MSD_musicnn/.index"
NUM_MELS = 96
EPSILON = 1e-3
"""Of TensorFlow's batch norm."""
TIMBRAL = (38, 67)
"""Mel bands that the filters of timbre see."""
TEMPORAL = (128, 64, 32)
"""Frames that the filters of rhythm see."""
REACH = 3
"""Frames to each side that other filters see."""


def load(place: str = "") -> "MusicnnTeacher":
    """Load the network.

    Args:
        place: The `.index` of a checkpoint of `MSD_musicnn` or `MTT_musicnn`, or this network's
            own tensors as safetensors; empty takes the installed wheel's.

    Raises:
        UserError: The wheel is not installed, or the file is not the network's.
    """
    path = Path(place) if place else file_of_wheel(WHEEL, FILE)
    teacher = MusicnnTeacher()
    own = path.suffix == ".safetensors"
    state = read_weights(path) if own else _renamed(read_checkpoint(path))
    load_exactly(teacher, named_tensors(state, str(path)), str(path))
    return teacher


class MusicnnTeacher(FrozenTeacher):
    """A music tagger's hidden frames."""

    def __init__(self) -> None:
        super().__init__()
        self.sample_rate, self.frame_rate = 16000, 62.5
        timbral, temporal, width, hidden = 204, 51, 64, 200
        self.dim = 3 * width
        self.convention = "musicnn three layers of convolutions; waveforms as they are"
        # The mirror is what librosa did when the network was trained.
        dialect = MelDialect(sample_rate=16000, window=512, hop_length=256, edges="mirror")
        filters = audio.melscale_fbanks(
            257, 0.0, 8000.0, NUM_MELS, 16000, norm="slaney", mel_scale="slaney"
        )
        self.mel = MelSpectrogram(dialect, filters)
        self.input_norm = nn.BatchNorm2d(1, eps=EPSILON)
        self.timbral = nn.ModuleList(_Filters(timbral, (2 * REACH + 1, n)) for n in TIMBRAL)
        self.temporal = nn.ModuleList(_Filters(temporal, (n, 1)) for n in TEMPORAL)
        front = len(TIMBRAL) * timbral + len(TEMPORAL) * temporal
        self.layers = nn.ModuleList(_Layer(size, width) for size in (front, width, width))
        self.pool_norm = nn.BatchNorm1d(2 * (front + self.dim), eps=EPSILON)
        self.hidden = nn.Linear(2 * (front + self.dim), hidden)
        self.hidden_norm = nn.BatchNorm1d(hidden, eps=EPSILON)
        self.eval().requires_grad_(False)

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Compute the frames of a batch of waveforms at 16 kHz."""
        power, num_frames = self.mel(waveforms, lengths)
        return self.encode_features((1 + 10_000 * power).log10(), num_frames)

    def encode_features(
        self, features: Float[Tensor, "batch frames mels"], num_frames: Int[Tensor, " batch"]
    ) -> Frames:
        """Run the network behind the front end."""
        valid = valid_mask(num_frames, features.shape[1])
        front = self._front(features, valid)
        layers: list[Tensor] = []
        for layer in self.layers:
            out = layer(layers[-1] if layers else front, valid)
            layers.append(out + layers[-1] if layers else out)
        vectors = torch.cat(layers, dim=2)
        return Frames(
            vectors,
            num_frames,
            self.frame_rate,
            layers=(front, *layers),
            pooled=self._pooled(torch.cat([front, vectors], dim=2), num_frames),
            first_time=0.0,
        )

    def _front(
        self, features: Float[Tensor, "batch frames mels"], valid: Bool[Tensor, "batch frames"]
    ) -> Float[Tensor, "batch frames filters"]:
        # What lies behind a clip's end is what lies before its beginning: zeros after the norm.
        image = self.input_norm(features[:, None]).masked_fill(~valid[:, None, :, None], 0.0)
        filters = [*self.timbral, *self.temporal]
        return torch.cat([one(image) for one in filters], dim=2)

    def _pooled(
        self, frames: Float[Tensor, "batch frames dim"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch hidden"]:
        # The checkpoint has the maximum and the mean of each dimension side by side.
        both = torch.stack([masked_max(frames, lengths), masked_mean(frames, lengths)], dim=2)
        hidden: Tensor = self.hidden_norm(F.relu(self.hidden(self.pool_norm(both.flatten(1)))))
        return hidden


class _Filters(nn.Module):
    """Filters of some frames and mel bands, and their largest answer over frequency."""

    def __init__(self, width: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, width, kernel)
        self.norm = nn.BatchNorm2d(width, eps=EPSILON)
        # An even kernel sees one frame more of what comes.
        self.padding = (0, 0, (kernel[0] - 1) // 2, kernel[0] // 2)

    def forward(
        self, image: Float[Tensor, "batch 1 frames mels"]
    ) -> Float[Tensor, "batch frames width"]:
        answers: Tensor = self.norm(F.relu(self.conv(F.pad(image, self.padding))))
        return answers.amax(dim=3).transpose(1, 2)


class _Layer(nn.Module):
    """A convolution over time."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(before, width, 2 * REACH + 1, padding=REACH)
        self.norm = nn.BatchNorm1d(width, eps=EPSILON)

    def forward(
        self, frames: Float[Tensor, "batch frames before"], valid: Bool[Tensor, "batch frames"]
    ) -> Float[Tensor, "batch frames width"]:
        masked = frames.masked_fill(~valid[..., None], 0.0).transpose(1, 2)
        answers: Tensor = self.norm(F.relu(self.conv(masked)))
        return answers.transpose(1, 2)


def _renamed(checkpoint: dict[str, Tensor]) -> dict[str, Tensor]:
    """Translate the checkpoint's names and axes; TensorFlow numbers layers in their order."""
    layers = [f"timbral.{n}" for n in range(2)] + [f"temporal.{n}" for n in range(3)]
    layers += [f"layers.{n}" for n in range(3)]
    norms = ["input_norm", *(f"{layer}.norm" for layer in layers), "pool_norm", "hidden_norm"]
    convs = {f"{layer}.conv": _numbered("conv2d", n) for n, layer in enumerate(layers)}
    state: dict[str, Tensor] = {}
    for name, source in {**convs, "hidden": "dense"}.items():
        kernel = checkpoint.get(f"{source}/kernel", torch.empty(0))
        if kernel.dim() == 4:
            kernel = kernel.permute(3, 2, 0, 1)
            if name.startswith("layers."):  # the whole width of the layer before is one filter
                kernel = kernel[:, 0].transpose(1, 2)
        else:
            kernel = kernel.T
        state[f"{name}.weight"] = kernel.contiguous()
        state[f"{name}.bias"] = checkpoint.get(f"{source}/bias", torch.empty(0))
    parts = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean",
             "running_var": "moving_variance"}  # fmt: skip
    for number, name in enumerate(norms):
        source = _numbered("batch_normalization", number)
        for part, known in parts.items():
            state[f"{name}.{part}"] = checkpoint.get(f"{source}/{known}", torch.empty(0))
        state[f"{name}.num_batches_tracked"] = torch.tensor(0)
    return state


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name
