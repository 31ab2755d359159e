"""What every source of the corpus yields: a clip, its labels, and what it goes with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile


@dataclass(frozen=True)
class Clip:
    """A recording of the corpus."""

    path: Path
    """File, or folder of stems, below the folder of the corpus."""
    package: str
    domain: str
    """speech, music or sounds."""
    keys: tuple[str, ...]
    """Text, score, song, sample: clips that share one are in one split."""
    stratum: str = ""
    """Groups are dealt to the splits within a stratum, so that each split has some of each."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Further columns of the table."""


def write_flac(path: Path, samples: np.ndarray, rate: int) -> None:
    """Write samples under a temporary name, then under their own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    soundfile.write(temporary, np.clip(samples, -1, 1), rate, format="FLAC", subtype="PCM_16")
    temporary.replace(path)


def loudest(samples: np.ndarray, size: int, step: int) -> np.ndarray:
    """Return the `size` samples of the most energy, begun at a multiple of `step`; all if fewer.

    Example:
        >>> loudest(np.array([1.0, 0.0, 3.0, 2.0, 0.0]), 2, 1)
        array([3., 2.])
    """
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    starts = np.arange(0, max(1, len(samples) - size + 1), step)
    ends = np.minimum(starts + size, len(samples))
    start = int(starts[np.argmax(energy[ends] - energy[starts])])
    return samples[start : start + size]
