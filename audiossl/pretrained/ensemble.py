"""Several encoders as one, on one frame rate: their vectors side by side.

Conventions. The waveform comes at the highest sample rate of the members and is resampled for the
others. Frames come at the highest frame rate, or at the one that is asked for; a member of another
rate gives the frame that sounds then, and its last one for what is left at the end. A sound shorter
than a frame of any member has none. `Frames.layers` are the members' own vectors on that rate, in
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
from audiossl.models.encoder import Encoder
from audiossl.nn.frames import Frames
from audiossl.teachers.teacher import FrozenTeacher, zero_padding


class Ensemble(FrozenTeacher):
    """Several encoders as one."""

    def __init__(self, encoders: Sequence[nn.Module], frame_rate: float | None = None) -> None:
        """Put encoders together.

        Args:
            encoders: Modules that keep to the `Encoder` protocol.
            frame_rate: Frames a second of the result; None is the highest of the members.

        Raises:
            UserError: There are no encoders.
        """
        super().__init__()
        if not encoders:
            raise UserError("an ensemble needs at least one encoder")
        self.members = nn.ModuleList(encoders)
        self.encoders: list[Encoder] = [one for one in encoders if isinstance(one, Encoder)]
        self.sample_rate = max(encoder.sample_rate for encoder in self.encoders)
        self.frame_rate = frame_rate or max(encoder.frame_rate for encoder in self.encoders)
        self.dim = sum(encoder.dim for encoder in self.encoders)
        self.convention = f"at {self.frame_rate:g} Hz: " + " | ".join(
            getattr(encoder, "convention", type(encoder).__name__) for encoder in self.encoders
        )
        self.eval().requires_grad_(False)

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Compute the frames of a batch of waveforms."""
        waveforms = zero_padding(waveforms, lengths)
        given = [self._encoded(encoder, waveforms, lengths) for encoder in self.encoders]
        num_frames = self._num_frames(given)
        longest = max(int(num_frames.max()), 1)
        layers = tuple(
            nearest_frames(_held(frames), frames.frame_rate, self.frame_rate, longest)
            for frames in given
        )
        return Frames(torch.cat(layers, dim=2), num_frames, self.frame_rate, layers=layers)

    def _num_frames(self, given: Sequence[Frames]) -> Int[Tensor, " batch"]:
        """Count the frames that all members have, but for the last one of slower members."""
        fast = [frames for frames in given if frames.frame_rate > self.frame_rate - 1e-6]
        counts = [frames.lengths * self.frame_rate / frames.frame_rate for frames in fast or given]
        # A hair below a whole number is that number: rates are floats.
        num_frames = (torch.stack(counts).amin(dim=0) + 1e-6).long()
        return num_frames * torch.stack([frames.lengths > 0 for frames in given]).all(dim=0)

    def _encoded(self, encoder: Encoder, waveforms: Tensor, lengths: Tensor) -> Frames:
        if encoder.sample_rate == self.sample_rate:
            return encoder(waveforms, lengths)
        common = math.gcd(self.sample_rate, encoder.sample_rate)
        up, down = encoder.sample_rate // common, self.sample_rate // common
        resampled = audio.resample(waveforms, self.sample_rate, encoder.sample_rate)
        return encoder(resampled, -(-lengths * up // down))


def _held(frames: Frames) -> Float[Tensor, "batch frames dim"]:
    """Let the last valid frame of each sequence stand in its padding, too."""
    if frames.vectors.shape[1] == 0:
        return frames.vectors.new_zeros(len(frames.vectors), 1, frames.vectors.shape[2])
    places = torch.arange(frames.vectors.shape[1], device=frames.vectors.device)
    index = torch.minimum(places, (frames.lengths[:, None] - 1).clamp(min=0))
    return frames.vectors.gather(1, index[..., None].expand_as(frames.vectors))
