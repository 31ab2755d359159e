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
