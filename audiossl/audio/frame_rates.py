"""Rows in time at one frame rate brought to another, in one place, for codes and frames alike.

It lies here, below all rooms that need it: teachers join frames of several rates, data truncates
codes with their cut, methods align codes with a student. Where SPEAR's training code decides, its
way is taken: no offset is compensated between the centers of a student's and a teacher's frames.
"""

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from audiossl.errors import UserError

IGNORED = -100
"""Stands where there is no code; cross-entropies leave it out."""
MOST_FRAMES_APART = 5
"""A front end loses a few frames at the end; codes that differ by more belong to something else."""


def num_whole_frames(seconds: float, frame_rate: float) -> int:
    """Count the frames that fit into a duration: how many codes a cut keeps when it is truncated.

    A hair below a whole number, as a product of floats may be, counts as that number.
    """
    return int(whole_frames(np.array([seconds], np.float64), frame_rate)[0])


def whole_frames(
    seconds: Float[np.ndarray, " cuts"], frame_rate: float
) -> Int[np.ndarray, " cuts"]:
    """Count the frames that fit into each of many durations."""
    return np.floor(seconds * frame_rate + 1e-6).astype(np.int64)


def repeat_frames(
    rows: Shaped[Tensor, "*batch frames values"], times: int
) -> Shaped[Tensor, "*batch more values"]:
    """Let each row stand `times` times: 25 Hz codes for a 50 Hz student."""
    return rows.repeat_interleave(times, dim=-2)


def stack_frames(
    rows: Shaped[Tensor, "*batch frames values"], times: int
) -> Shaped[Tensor, "*batch fewer stacked"]:
    """Put each `times` rows side by side: 50 Hz codes for a 25 Hz student, earlier row first.

    Rows at the end that do not fill a new one are left out.
    """
    fewer = rows.shape[-2] // times
    whole = rows[..., : fewer * times, :]
    return whole.reshape(*rows.shape[:-2], fewer, times * rows.shape[-1])


def at_frame_rate(
    rows: Shaped[Tensor, "*batch frames values"], frame_rate: float, target_rate: float
) -> Shaped[Tensor, "*batch target_frames target_values"]:
    """Repeat or stack rows so that there are `target_rate` of them a second.

    Raises:
        UserError: Neither rate is a multiple of the other.
    """
    for ratio, change in (
        (target_rate / frame_rate, repeat_frames),
        (frame_rate / target_rate, stack_frames),
    ):
        if ratio >= 1 and abs(ratio - round(ratio)) < 1e-6:
            return change(rows, round(ratio))
    raise UserError(
        f"codes at {frame_rate:g} Hz cannot be brought to {target_rate:g} Hz: neither is a "
        "multiple of the other; choose a teacher or a student with another frame rate"
    )


def nearest_frames(
    rows: Shaped[Tensor, "*batch frames values"],
    frame_rate: float,
    target_rate: float,
    num_frames: int,
) -> Shaped[Tensor, "*batch num_frames values"]:
    """Take, for each of `num_frames` frames, the row whose span of time its center lies in.

    For rates of which neither is a multiple of the other; equals `repeat_frames` where one is.
    Beyond the last row, the last row.
    """
    centers = (
        torch.arange(num_frames, device=rows.device, dtype=torch.float64) + 0.5
    ) / target_rate
    places = (centers * frame_rate).long().clamp(max=max(rows.shape[-2] - 1, 0))
    return rows.index_select(rows.ndim - 2, places)
