"""Basic Pitch: which notes sound, from the PyPI wheel `basic-pitch`.

Seventeen thousand weights (Apache-2.0) trained to transcribe instruments and voices, many notes at
a time: a trained teacher for music. Source: Bittner, Bosch, Rubinstein, Meseguer-Brocal and Ewert,
"A lightweight instrument-agnostic model for polyphonic note transcription and multipitch
estimation" (ICASSP 2022), and the released network.

Conventions. 22.05 kHz; a constant-Q transform of 36 bins an octave from 27.5 Hz up, 86.13 frames a
second, whose logarithm is brought to the range 0 to 1 in each window of 2 s; eight harmonics side
by side; convolutions. A frame is the network's answers between 0 and 1: how well each of 264 thirds
of a semitone fits, each of 88 notes, and the onset of each of 88 notes. Windows overlap by 31
frames, of which 15 or 16 at each end are left out, where the released code has 30 and 15: windows
are whole frames apart, so that frames keep time. What lies around a clip is silence.
"""

from pathlib import Path

import numpy as np
import scipy.signal
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from audiossl.nn.frames import Frames
from audiossl.nn.tensorflow_checkpoint import read_checkpoint
from audiossl.nn.weights import load_exactly, named_tensors, read_weights
from audiossl.nn.wheels import file_of_wheel
from audiossl.teachers.teacher import FrozenTeacher, zero_padding

WHEEL = "basic-pitch==0.4.0"
FILE = "basic_pitch/saved_models/icassp_2022/nmp/variables/variables.index"
SAMPLE_RATE, HOP = 22050, 256
WINDOW = 43844
"""Samples that the network takes: 172 frames."""
EDGE = 15
"""Frames that are left out at the beginning of a window."""
STEP = 141
"""Frames of a window that are kept."""
LOWEST, BINS_PER_OCTAVE, NUM_BINS = 27.5, 36, 309
"""Hz of the lowest bin; the highest is below the Nyquist frequency."""
HARMONICS = (0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
NUM_CONTOURS, NUM_NOTES = 264, 88
KERNEL = 256
"""Samples of the filters of an octave."""
LOWPASS = 256
"""Samples of the filter before the rate is halved."""
EPSILON = 1e-3
"""Epsilon of TensorFlow's batch norm."""


def load(place: str = "") -> "BasicPitchTeacher":
    """Load the network.

    Args:
        place: The `variables.index` of its saved model, or this network's own tensors as
            safetensors; empty takes the installed wheel's.

    Raises:
        UserError: The wheel is not installed, or the file is not the network's.
    """
    path = Path(place) if place else file_of_wheel(WHEEL, FILE)
    teacher = BasicPitchTeacher()
    own = path.suffix == ".safetensors"
    state = read_weights(path) if own else _renamed(read_checkpoint(path))
    load_exactly(teacher, named_tensors(state, str(path)), str(path))
    return teacher


class BasicPitchTeacher(FrozenTeacher):
    """How well each pitch fits, each note, and each onset of a note."""

    kernels: Tensor
    lowpass: Tensor
    scales: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.sample_rate, self.frame_rate = SAMPLE_RATE, SAMPLE_RATE / HOP
        self.dim = NUM_CONTOURS + 2 * NUM_NOTES
        self.convention = "basic pitch, answers of contours, notes, onsets; windows of 2 s"
        kernels, lowpass, scales = _transform()
        self.register_buffer("kernels", kernels, persistent=False)
        self.register_buffer("lowpass", lowpass, persistent=False)
        self.register_buffer("scales", scales, persistent=False)
        self.input_norm = nn.BatchNorm2d(1, eps=EPSILON)
        harmonics = len(HARMONICS)
        self.contour = nn.Conv2d(harmonics, 8, (3, 39), padding=(1, 19))
        self.contour_norm = nn.BatchNorm2d(8, eps=EPSILON)
        self.contour_answer = nn.Conv2d(8, 1, 5, padding=2)
        # Three bins become one note.
        self.note = nn.Conv2d(1, 32, 7, stride=(1, 3), padding=(3, 2))
        self.note_answer = nn.Conv2d(32, 1, (7, 3), padding=(3, 1))
        self.onset = nn.Conv2d(harmonics, 32, 5, stride=(1, 3), padding=(2, 1))
        self.onset_norm = nn.BatchNorm2d(32, eps=EPSILON)
        self.onset_answer = nn.Conv2d(33, 1, 3, padding=1)
        self.eval().requires_grad_(False)

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Compute the frames of a batch of waveforms at 22.05 kHz."""
        num_frames = (1 + lengths // HOP) * (lengths > 0)
        num_windows = max(1, -(-(1 + waveforms.shape[1] // HOP) // STEP))
        stop = (num_windows - 1) * STEP * HOP + WINDOW
        before = EDGE * HOP
        after = stop - before - waveforms.shape[1]
        padded = F.pad(zero_padding(waveforms.float(), lengths), (before, after))
        windows = padded.unfold(1, WINDOW, STEP * HOP)
        first = STEP * torch.arange(num_windows, device=lengths.device)
        nonempty = first < num_frames[:, None]
        answers = windows.new_zeros((*windows.shape[:2], STEP, self.dim))
        # A window takes 60 MB: on a processor some at a time are no faster than one.
        at_once = 1 if waveforms.device.type == "cpu" else 32
        for part in nonempty.nonzero().split(at_once):
            rows, places = part.unbind(1)
            kept = self.answers(windows[rows, places])[:, EDGE : EDGE + STEP]
            answers[rows, places] = kept.to(answers)
        vectors = answers.flatten(1, 2)[:, : max(1, 1 + waveforms.shape[1] // HOP)]
        return Frames(vectors, num_frames, self.frame_rate, first_time=0.0)

    def answers(
        self, windows: Float[Tensor, "windows samples"]
    ) -> Float[Tensor, "windows frames dim"]:
        """Run the network on windows of 43844 samples: contours, notes, onsets side by side."""
        image = self.input_norm(self.log_spectra(windows)[:, None])[:, 0]
        stacked = torch.stack([_shifted(image, ratio) for ratio in HARMONICS], dim=1)
        hidden = F.relu(self.contour_norm(self.contour(stacked)))
        contours = self.contour_answer(hidden).sigmoid()
        notes = self.note_answer(F.relu(self.note(contours))).sigmoid()
        hidden = F.relu(self.onset_norm(self.onset(stacked)))
        onsets = self.onset_answer(torch.cat([notes, hidden], dim=1)).sigmoid()
        return torch.cat([contours, notes, onsets], dim=3)[:, 0]

    def log_spectra(
        self, windows: Float[Tensor, "windows samples"]
    ) -> Float[Tensor, "windows frames bins"]:
        """Compute decibels of a constant-Q transform, from 0 to 1 in each window.

        Octaves by Brown and Puckette, "An efficient algorithm for the calculation of a constant Q
        transform" (1992): the filters of the highest one, on ever lower sample rates.
        """
        with torch.autocast(windows.device.type, enabled=False):  # half precision would round power
            octaves = self._octaves(windows.float()[:, None])
        power = torch.cat(octaves[::-1], dim=1)[:, -NUM_BINS:].transpose(1, 2) * self.scales
        decibels = 10 * (power + 1e-10).log10()
        above = decibels - decibels.amin(dim=(1, 2), keepdim=True)
        most = above.amax(dim=(1, 2), keepdim=True)
        return torch.where(most > 0, above / most.clamp(min=1e-30), 0.0)

    def _octaves(
        self, waveforms: Float[Tensor, "windows 1 samples"]
    ) -> list[Float[Tensor, "windows bins frames"]]:
        """Compute the power of each octave, the highest first."""
        octaves = []
        for octave in range(-(-NUM_BINS // BINS_PER_OCTAVE)):
            if octave:
                around = (LOWPASS - 1) // 2
                waveforms = F.conv1d(waveforms, self.lowpass, stride=2, padding=around)
            mirrored = F.pad(waveforms, (KERNEL // 2, KERNEL // 2), mode="reflect")
            parts = F.conv1d(mirrored, self.kernels, stride=HOP >> octave)
            octaves.append(parts.unflatten(1, (2, BINS_PER_OCTAVE)).square().sum(dim=1))
        return octaves


def _shifted(
    image: Float[Tensor, "windows frames bins"], ratio: float
) -> Float[Tensor, "windows frames contours"]:
    """Move the bins of a harmonic of each pitch to where that pitch is; zeros beyond the ends."""
    shift = round(BINS_PER_OCTAVE * np.log2(ratio))
    moved = F.pad(image, (-shift, 0)) if shift < 0 else image[:, :, shift:]
    return F.pad(moved, (0, max(0, NUM_CONTOURS - moved.shape[2])))[:, :, :NUM_CONTOURS]


def _transform() -> tuple[
    Float[Tensor, "filters 1 samples"], Float[Tensor, "1 1 samples"], Float[Tensor, " bins"]
]:
    """Make the filters of one octave, the low-pass, and the scale of each bin's power."""
    quality = 1 / (2 ** (1 / BINS_PER_OCTAVE) - 1)
    hertz = LOWEST * 2 ** (np.arange(NUM_BINS) / BINS_PER_OCTAVE)
    kernels = np.zeros((BINS_PER_OCTAVE, KERNEL), complex)
    for kernel, one in zip(kernels, hertz[-BINS_PER_OCTAVE:], strict=True):
        size = int(np.ceil(quality * SAMPLE_RATE / one))
        time = np.arange(size) - (size + 1) // 2
        wave = scipy.signal.get_window("hann", size) * np.exp(2j * np.pi * one / SAMPLE_RATE * time)
        start = int(np.ceil((KERNEL - size) / 2)) - size % 2
        kernel[start : start + size] = wave / np.abs(wave).sum()
    both = np.concatenate([kernels.real, kernels.imag])[:, None]
    # Flat up to half of the band, but for a thousandth.
    edges = [0.0, 0.5 / 1.001, 0.5 * 1.001, 1.0]
    lowpass = scipy.signal.firwin2(LOWPASS, edges, [1.0, 1.0, 0.0, 0.0])[None, None]
    scales = torch.from_numpy(np.ceil(quality * SAMPLE_RATE / hertz)).float()
    return torch.from_numpy(both).float(), torch.from_numpy(lowpass).float(), scales


def _renamed(checkpoint: dict[str, Tensor]) -> dict[str, Tensor]:
    """Translate the saved model's names and axes; it numbers layers in their order."""
    names = ["input_norm", "contour", "contour_norm", "contour_answer", "note", "onset",
             "onset_norm", "note_answer", "onset_answer"]  # fmt: skip
    parts = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean",
             "running_var": "moving_variance"}  # fmt: skip
    state: dict[str, Tensor] = {}
    for number, name in enumerate(names):
        norm = name.endswith("_norm")
        for part, known in (parts if norm else {"weight": "kernel", "bias": "bias"}).items():
            source = f"layer_with_weights-{number}/{known}/.ATTRIBUTES/VARIABLE_VALUE"
            if source in checkpoint:
                tensor = checkpoint[source]
                kernel = tensor.dim() == 4
                state[f"{name}.{part}"] = tensor.permute(3, 2, 0, 1) if kernel else tensor
        if norm:
            state[f"{name}.num_batches_tracked"] = torch.tensor(0)
    return state
