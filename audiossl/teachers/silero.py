"""Silero VAD: whether somebody speaks, from the PyPI wheel `silero-vad`, before its answer.

0.2 million weights (MIT) trained to find speech in noise, music and many languages: a trained
teacher that tells speech from everything else. Source: Silero Team, "Silero VAD: pre-trained
enterprise-grade voice activity detector" (2024), and the released network of 16 kHz. Its weights
are those that the wheel has as plain tensors; what its own detector runs is the same network with
weights of a later training, inside programs (TorchScript, ONNX).

Conventions. Chunks of 512 samples at 16 kHz, each with the 64 samples before it (zeros before the
first), the last one filled up with zeros: 31.25 frames a second, waveforms as they are. A frame is
the state of the recurrent layer after its chunk, from which the network's answer is one linear
layer away. It depends on nothing that comes after the chunk, and on half a minute before it: in
noise, cut off 1 s before, a state has cosine 0.84 to that of the whole clip, 10 s before 0.93
(answers differ by 0.02 at most), so that `audiossl check` tells chunks from whole clips.
`Frames.layers` are the convolutions' output and that state. The wheel's streaming detector is the
same computation, chunk by chunk.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from audiossl.nn.frames import Frames
from audiossl.nn.weights import load_exactly, named_tensors, read_weights
from audiossl.nn.wheels import file_of_wheel
from audiossl.teachers.teacher import FrozenTeacher, zero_padding

WHEEL, FILE = "silero-vad==6.2.3", "silero_vad/data/silero_vad_16k.safetensors"
CHUNK, CONTEXT = 512, 64
"""Samples of a chunk, and of those before it that are encoded with it."""
FFT, HOP = 256, 128
CHANNELS = (FFT // 2 + 1, 128, 64, 64, 128)
STRIDES = (1, 2, 2, 1)
"""The four spectra of a chunk become one frame."""


def load(place: str = "") -> "SileroTeacher":
    """Load the network.

    Args:
        place: A copy of the wheel's `silero_vad_16k.safetensors`; empty takes the installed
            wheel's own.

    Raises:
        UserError: The wheel is not installed, or the file is not the network's.
    """
    path = Path(place) if place else file_of_wheel(WHEEL, FILE)
    teacher = SileroTeacher()
    tensors = named_tensors(read_weights(path), str(path))
    load_exactly(teacher, {_renamed(name): t for name, t in tensors.items()}, str(path))
    return teacher


class SileroTeacher(FrozenTeacher):
    """A voice activity detector's recurrent state."""

    def __init__(self) -> None:
        super().__init__()
        self.sample_rate, self.dim = 16000, CHANNELS[-1]
        self.frame_rate = self.sample_rate / CHUNK
        self.convention = "silero vad, recurrent state before the answer; waveforms as they are"
        # Windowed cosines and sines, which come with the weights.
        self.stft_conv = nn.Conv1d(1, FFT + 2, FFT, stride=HOP, bias=False)
        sizes = zip(CHANNELS[:-1], CHANNELS[1:], STRIDES, strict=True)
        for number, (before, after, stride) in enumerate(sizes, start=1):
            conv = nn.Conv1d(before, after, 3, stride=stride, padding=1)
            self.add_module(f"conv{number}", conv)
        self.lstm = nn.LSTM(self.dim, self.dim, batch_first=True)
        self.final_conv = nn.Conv1d(self.dim, 1, 1)
        self.eval().requires_grad_(False)

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Compute the frames of a batch of waveforms at 16 kHz."""
        missing = -waveforms.shape[1] % CHUNK or (0 if waveforms.shape[1] else CHUNK)
        padded = F.pad(zero_padding(waveforms.float(), lengths), (CONTEXT, missing))
        chunks = padded.unfold(1, CONTEXT + CHUNK, CHUNK)
        encoded = self._encoded(chunks.flatten(0, 1)).unflatten(0, chunks.shape[:2])
        states, _ = self.lstm(encoded)
        num_frames = -(-lengths // CHUNK)
        return Frames(
            states,
            num_frames,
            self.frame_rate,
            layers=(encoded, states),
            first_time=CHUNK / 2 / self.sample_rate,
        )

    def probabilities(
        self, states: Float[Tensor, "batch frames dim"]
    ) -> Float[Tensor, "batch frames"]:
        """Compute the probability of speech in each frame: the network's own answer."""
        return self.final_conv(states.relu().transpose(1, 2)).sigmoid()[:, 0]

    def _encoded(self, chunks: Float[Tensor, "chunks samples"]) -> Float[Tensor, "chunks dim"]:
        mirrored = F.pad(chunks[:, None], (0, CONTEXT), mode="reflect")
        parts = self.stft_conv(mirrored).unflatten(1, (2, -1))
        # Unlike that of a square root, the gradient of a norm is finite where there is silence.
        image = torch.linalg.vector_norm(parts, dim=1)
        for number in range(1, len(CHANNELS)):
            image = self.get_submodule(f"conv{number}")(image).relu()
        return image[..., 0]


def _renamed(name: str) -> str:
    """Give the name of a whole layer's tensor for that of the wheel's cell."""
    return name.replace("lstm_cell.", "lstm.") + ("_l0" if name.startswith("lstm_cell.") else "")
