"""Files, or waveforms in memory, as clips that are read span by span."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from audiossl.audio.files import audio_info, read_waveform
from audiossl.audio.resampling import num_resampled

_READ_AT_ONCE = 600.0
"""Seconds that are decoded in one go: an mp3 is decoded from its beginning each time."""


class FileClip:
    """An audio file, of which one stretch is in memory at a time."""

    def __init__(self, path: Path, sample_rate: int) -> None:
        """Read the header.

        Raises:
            Skip: The file cannot be read.
        """
        info = audio_info(path)
        self.path, self.sample_rate = path, sample_rate
        self.num_samples = num_resampled(info.num_samples, info.sample_rate, sample_rate)
        self.first, self.stretch = 0, np.zeros(0, np.float32)

    def read(self, start: int, stop: int) -> Float[np.ndarray, " samples"]:
        """Read samples `start` to `stop`, at the sample rate that was asked for.

        Raises:
            Skip: The file is damaged, or not as long as its header says.
        """
        if start < self.first or stop > self.first + len(self.stretch):
            last = max(stop, start + round(_READ_AT_ONCE * self.sample_rate))
            duration = None if last >= self.num_samples else (last - start) / self.sample_rate
            self.stretch = read_waveform(
                self.path,
                sample_rate=self.sample_rate,
                start=start / self.sample_rate,
                duration=duration,
            )
            self.first = start
        return self.stretch[start - self.first : stop - self.first]
