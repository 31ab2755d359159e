"""Do two modalities that lie on one time axis place a code, and a frame, at the same time?

Source of localisation by code: Liu et al., "Cross-Modal Discrete Representation Learning" (ACL
2022), section 5, who highlight the positions of a code on both modalities of a clip; the figures
here are ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist

Clips = Sequence[Int[np.ndarray, " _"]]


@dataclass(frozen=True)
class Overlap:
    """How far the places of a code in one modality are those in the other."""

    score: float
    """Frames where both modalities have the code over frames where either has it, summed over clips
    and the codes that both modalities of a clip use; NaN if there is none."""
    chance: float
    """The same, if the second modality of each clip were turned around by a random time."""
    codes_in_both: float
    """Share of the codes of a clip (of either modality) that both its modalities use."""


@dataclass(frozen=True)
class FrameRetrieval:
    """How well a frame finds its time among the frames of the other modality of its clip."""

    recall: tuple[float, ...]
    """Share of frames whose nearest one is at most so many frames off, for each tolerance."""
    chance: tuple[float, ...]
    """The same of a random frame of the clip."""
    median_error: float
    """Frames."""


def code_overlap(first: Clips, second: Clips) -> Overlap:
    """Compare where each code stands on the two modalities of each clip.

    Args:
        first: Codes of one modality of every clip.
        second: Codes of the other modality, frame by frame.
    """
    together = either = by_chance = either_by_chance = 0.0
    shared = used = 0
    for one, other in zip(first, second, strict=True):
        size = int(max(one.max(), other.max())) + 1
        counts = np.stack([np.bincount(codes, minlength=size) for codes in (one, other)])
        both = np.logical_and(counts[0], counts[1])
        shared, used = shared + int(both.sum()), used + int(counts.any(axis=0).sum())
        total = float(counts[:, both].sum())
        meeting = float((both[one] & (one == other)).sum())
        # Turned around by every possible time, all pairs of their frames meet once.
        expected = float((counts[0, both] * counts[1, both]).sum()) / len(one)
        together, either = together + meeting, either + total - meeting
        by_chance, either_by_chance = by_chance + expected, either_by_chance + total - expected
    if not shared:
        return Overlap(float("nan"), float("nan"), 0.0)
    return Overlap(together / either, by_chance / either_by_chance, shared / used)


def frame_retrieval(
    queries: Sequence[Float[np.ndarray, "_ dim"]],
    candidates: Sequence[Float[np.ndarray, "_ dim"]],
    tolerances: Sequence[int] = (0, 1, 2),
) -> FrameRetrieval:
    """Find each frame's time by the nearest (Euclidean) frame of the other modality of its clip.

    Args:
        queries: Frames of one modality of every clip.
        candidates: Frames of the other, as many.
        tolerances: Frames that the nearest one may be off.

    Example:
        >>> clip = np.eye(10, dtype=np.float32)
        >>> frame_retrieval([clip], [np.roll(clip, 1, axis=0)]).recall  # one frame late
        (0.0, 0.9, 0.9)
    """
    errors, chances = [], []
    for one, other in zip(queries, candidates, strict=True):
        times = np.arange(len(one))
        errors.append(np.abs(cdist(one, other).argmin(axis=1) - times))
        apart = np.abs(times[:, None] - times)
        chances.append(np.stack([(apart <= t).mean(axis=1) for t in tolerances]))
    distances, chance = np.concatenate(errors), np.concatenate(chances, axis=1).mean(axis=1)
    return FrameRetrieval(
        tuple(float((distances <= t).mean()) for t in tolerances),
        tuple(float(value) for value in chance),
        float(np.median(distances)),
    )
