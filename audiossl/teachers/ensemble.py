"""Several teachers as one, on one frame rate: their vectors side by side.

Conventions. The waveform comes at the highest sample rate of the teachers and is resampled for the
others. Frames come at the highest frame rate, or at the one that is asked for; a teacher of another
rate gives the frame that sounds then, and its last one for what is left at the end. A sound shorter
than a frame of any teacher has none. `Frames.layers` are the teachers' own vectors on that rate, in
order, so that each can get a quantizer of its own.
"""

import math
from collections.abc import Sequence

import torch
import torchaudio.functional as audio
from jaxtyping import Float, Int
from torch import Tensor, nn

from audiossl.audio.frame_rates import nearest_frames
from audiossl.errors import UserError
from audiossl.nn.frames import Frames
from audiossl.teachers.teacher import FrozenTeacher, Teacher, zero_padding


class EnsembleTeacher(FrozenTeacher):
    """Several teachers as one."""

    def __init__(self, teachers: Sequence[nn.Module], frame_rate: float | None = None) -> None:
        """Put teachers together.

        Args:
            teachers: Modules that keep to the `Teacher` protocol.
            frame_rate: Frames a second of the result; None is the highest of the teachers.

        Raises:
            UserError: There are no teachers.
        """
        super().__init__()
        if not teachers:
            raise UserError("an ensemble needs at least one teacher")
        self.members = nn.ModuleList(teachers)
        self.teachers: list[Teacher] = [t for t in teachers if isinstance(t, Teacher)]
        self.sample_rate = max(teacher.sample_rate for teacher in self.teachers)
        self.frame_rate = frame_rate or max(teacher.frame_rate for teacher in self.teachers)
        self.dim = sum(teacher.dim for teacher in self.teachers)
        self.convention = f"at {self.frame_rate:g} Hz: " + " | ".join(
            getattr(teacher, "convention", type(teacher).__name__) for teacher in self.teachers
        )
        self.eval().requires_grad_(False)

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Compute the frames of a batch of waveforms."""
        waveforms = zero_padding(waveforms, lengths)
        given = [self._heard(teacher, waveforms, lengths) for teacher in self.teachers]
        num_frames = self._num_frames(given)
        longest = max(int(num_frames.max()), 1)
        layers = tuple(
            nearest_frames(_held(frames), frames.frame_rate, self.frame_rate, longest)
            for frames in given
        )
        return Frames(torch.cat(layers, dim=2), num_frames, self.frame_rate, layers=layers)

    def _num_frames(self, given: Sequence[Frames]) -> Int[Tensor, " batch"]:
        """Count the frames that all teachers have, but for the last one of slower teachers."""
        fast = [frames for frames in given if frames.frame_rate > self.frame_rate - 1e-6]
        counts = [frames.lengths * self.frame_rate / frames.frame_rate for frames in fast or given]
        # A hair below a whole number is that number: rates are floats.
        num_frames = (torch.stack(counts).amin(dim=0) + 1e-6).long()
        return num_frames * torch.stack([frames.lengths > 0 for frames in given]).all(dim=0)

    def _heard(self, teacher: Teacher, waveforms: Tensor, lengths: Tensor) -> Frames:
        if teacher.sample_rate == self.sample_rate:
            return teacher(waveforms, lengths)
        common = math.gcd(self.sample_rate, teacher.sample_rate)
        up, down = teacher.sample_rate // common, self.sample_rate // common
        resampled = audio.resample(waveforms, self.sample_rate, teacher.sample_rate)
        return teacher(resampled, -(-lengths * up // down))


def _held(frames: Frames) -> Float[Tensor, "batch frames dim"]:
    """Let the last valid frame of each sequence stand in its padding, too."""
    if frames.vectors.shape[1] == 0:
        return frames.vectors.new_zeros(len(frames.vectors), 1, frames.vectors.shape[2])
    places = torch.arange(frames.vectors.shape[1], device=frames.vectors.device)
    index = torch.minimum(places, (frames.lengths[:, None] - 1).clamp(min=0))
    return frames.vectors.gather(1, index[..., None].expand_as(frames.vectors))
