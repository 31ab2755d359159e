"""What the encoders of this room share, and which of their frames can be a student's targets."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from audiossl.errors import Skip
from audiossl.nn.frames import Frames
from audiossl.nn.lengths import valid_mask


class FrozenTeacher(nn.Module):
    """An `Encoder` that stays in evaluation mode and documents what it gives.

    A row that is too short for one frame gets the length 0.
    """

    sample_rate: int
    frame_rate: float
    dim: int
    convention: str
    """Layer of `Frames.vectors`, before or after which normalization, of which input: part of the
    identity of everything that is made with it."""

    @property
    def layer_convention(self) -> str:
        """The same, by the name that every loaded encoder has for it."""
        return self.convention

    def __call__(self, *inputs: Any, **options: Any) -> Frames:
        """Compute frames, and write on them which layer they are."""
        frames: Frames = super().__call__(*inputs, **options)
        return replace(frames, layer_convention=self.convention)

    def train(self, mode: bool = True) -> "FrozenTeacher":  # noqa: ARG002 - it is not asked
        """Stay in evaluation mode, whatever the mode of a student around it."""
        return super().train(False)

    @abstractmethod
    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Compute the frames of a batch of waveforms."""


def faults(frames: Frames, names: Sequence[str]) -> dict[int, Skip]:
    """Find the rows of a batch that cannot be targets.

    Args:
        frames: What a teacher gave.
        names: Which cut each row is, for the messages.

    Returns:
        Row -> what is wrong with it; a stage leaves such cuts out, counts and bounds them.
    """
    valid = valid_mask(frames.lengths, frames.vectors.shape[1])
    bad = (~frames.vectors.isfinite().all(dim=2) & valid).cpu()
    skips = {}
    for row, (name, length) in enumerate(zip(names, frames.lengths.tolist(), strict=True)):
        if length == 0:
            skips[row] = Skip(f"{name}: shorter than one frame of its teacher")
        elif bad[row].any():
            first = int(bad[row].int().argmax())
            skips[row] = Skip(
                f"{name}: its teacher gave NaN or infinity in {int(bad[row].sum())} of {length} "
                f"frames, first in frame {first}"
            )
    return skips


def zero_padding(
    waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "batch samples"]:
    """Silence what stands behind each row's end: it may be anything, NaN too."""
    return torch.where(valid_mask(lengths, waveforms.shape[1]), waveforms, 0.0)
