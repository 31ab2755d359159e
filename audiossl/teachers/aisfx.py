"""aisfx: a CNN trained to sort sound effects, from the PyPI wheel of that name, before its pooling.

Nine libraries of sound effects, 6.2 million weights (CC-BY-4.0) that come with a wheel: a trained
teacher for sound events in the mini demos.

Conventions. 44.1 kHz, as it is; 96 mel bands, log10(1 + 10000 power), divided by the largest value
of the training. Four blocks of two convolutions; three of them halve time, so that there are 5.4
frames a second; a frame is the last block's output, averaged over frequency. `Frames.pooled` is the
maximum over time, which is the network's own clip embedding (which it took of 2.3 s at a time).
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from audiossl.nn.frames import Frames
from audiossl.nn.lengths import valid_mask
from audiossl.nn.pickled_arrays import array_globals
from audiossl.nn.pooling import masked_max
from audiossl.nn.weights import load_exactly, named_tensors, read_weights
from audiossl.nn.wheels import file_of_wheel
from audiossl.teachers.mel import MelDialect, MelSpectrogram
from audiossl.teachers.teacher import FrozenTeacher

WHEEL, FILE = "aisfx==0.1.2", "aisfx/models/checkpoint.pth"
NUM_MELS = 96
LOUDEST = 9.457798957824707
"""Largest value of the spectrograms it was trained on."""
HALVINGS = 3


def load(place: str = "") -> "AisfxTeacher":
    """Load the network.

    Args:
        place: A copy of the wheel's `checkpoint.pth`; empty takes the installed wheel's own.

    Raises:
        UserError: The wheel is not installed, or the file is not the network's.
    """
    path = Path(place) if place else file_of_wheel(WHEEL, FILE)
    # Beside the weights lies a table of data sets with NumPy integers in it: data, not code.
    with torch.serialization.safe_globals(array_globals()):
        content = read_weights(path)
    inner = content[0] if isinstance(content, tuple) and content else content
    state = named_tensors(inner, str(path))
    teacher = AisfxTeacher()
    prefix = "embedding_net."  # beside it are the heads of the nine libraries
    weights = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
    load_exactly(teacher, weights, str(path))
    return teacher


class AisfxTeacher(FrozenTeacher):
    """A sound-effect network's frames before pooling."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.sample_rate, self.dim = 44100, 8 * width
        dialect = MelDialect(sample_rate=44100, window=2048, hop_length=1024, edges="zeros")
        self.frame_rate = 44100 / (dialect.hop_length * 2**HALVINGS)
        self.convention = "aisfx last block before pooling over time; waveforms as they are"
        self.mel = MelSpectrogram(dialect, _essentia_filters(dialect))
        widths = [1, width, 2 * width, 4 * width, 8 * width]
        for number in range(4):
            self.add_module(f"conv_block{number + 1}", _Block(widths[number], widths[number + 1]))
        self.eval().requires_grad_(False)

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Compute the frames of a batch of waveforms at 44.1 kHz."""
        power, num_frames = self.mel(waveforms, lengths)
        return self.encode_features((1 + 10_000 * power).log10() / LOUDEST, num_frames)

    def encode_features(
        self, features: Float[Tensor, "batch mel_frames mels"], num_frames: Int[Tensor, " batch"]
    ) -> Frames:
        """Run the network behind the front end."""
        image = F.pad(features, (0, 0, 0, max(0, 2**HALVINGS - features.shape[1])))[:, None]
        for number in range(4):
            valid = valid_mask(num_frames, image.shape[2])
            image = self.get_submodule(f"conv_block{number + 1}")(image, valid)
            if number < HALVINGS:
                image, num_frames = F.max_pool2d(image, 2), num_frames // 2
        vectors = image.mean(dim=3).transpose(1, 2)
        return Frames(vectors, num_frames, self.frame_rate, pooled=masked_max(vectors, num_frames))


class _Block(nn.Module):
    """Two convolutions with batch norm; names are those of the public weights."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(after), nn.BatchNorm2d(after)

    def forward(
        self, image: Float[Tensor, "batch before frames bins"], valid: Bool[Tensor, "batch frames"]
    ) -> Float[Tensor, "batch after frames bins"]:
        # A convolution sees zeros behind the end; what its own bias made of padding is taken out.
        padding = ~valid[:, None, :, None]
        image = F.relu(self.bn1(self.conv1(image.masked_fill(padding, 0.0))))
        return F.relu(self.bn2(self.conv2(image.masked_fill(padding, 0.0))))


def _essentia_filters(dialect: MelDialect) -> Float[Tensor, "bins mels"]:
    """Mel filters as Essentia makes them with `htkMel`, weighting `warping`, `unit_sum`.

    Triangles over the mel axis from 0 Hz to the Nyquist frequency, each scaled to the sum 1.
    """
    hertz = np.arange(dialect.window // 2 + 1) * dialect.sample_rate / dialect.window
    mel = 1127 * np.log1p(hertz / 700)
    edges = np.linspace(0, mel[-1], NUM_MELS + 2)
    rise = (mel[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - mel[:, None]) / (edges[2:] - edges[1:-1])
    triangles = np.minimum(rise, fall).clip(min=0)
    return torch.from_numpy(triangles / triangles.sum(axis=0).clip(min=1e-12)).float()
