"""Files, or waveforms in memory, as clips that are read span by span."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from audiossl.audio.files import read_if_short, read_waveform
from audiossl.audio.listing import list_files
from audiossl.audio.resampling import num_resampled, resample_waveform
from audiossl.errors import Skip, UserError
from audiossl.pretrained.inputs import Lengths, Samples, batch_of

_READ_AT_ONCE = 600.0
"""Seconds that are decoded in one go: an mp3 is decoded from its beginning each time."""


class FileClip:
    """An audio file, of which one stretch is in memory at a time."""

    def __init__(self, path: Path, sample_rate: int) -> None:
        """Read the header, and a short file as a whole.

        Raises:
            Skip: The file cannot be read.
        """
        info, whole = read_if_short(path, sample_rate=sample_rate, longest=_READ_AT_ONCE)
        self.path, self.sample_rate = path, sample_rate
        self.num_samples = num_resampled(info.num_samples, info.sample_rate, sample_rate)
        self.first, self.stretch = 0, np.zeros(0, np.float32) if whole is None else whole

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


class ArrayClip:
    """A waveform in memory, brought to a sample rate."""

    def __init__(
        self, waveform: Float[np.ndarray, " samples"], given_rate: int, sample_rate: int
    ) -> None:
        """Resample the waveform.

        Raises:
            Skip: It has no samples, or some that are NaN or infinite.
        """
        if not len(waveform) or not np.isfinite(waveform).all():
            raise Skip("a waveform has no samples, or NaN and infinite ones among them")
        self.waveform = resample_waveform(waveform, given_rate, sample_rate)
        self.sample_rate, self.num_samples = sample_rate, len(self.waveform)

    def read(self, start: int, stop: int) -> Float[np.ndarray, " samples"]:
        """Take samples `start` to `stop`."""
        return self.waveform[start:stop]


Clip = FileClip | ArrayClip
Clips = str | Path | Samples | Iterable[str | Path] | Sequence[Samples]


@dataclass(frozen=True)
class NamedClip:
    """A clip that is opened when its turn comes."""

    name: Path
    """Path of the file, or what messages call a waveform in memory."""
    open: Callable[[], Clip]


def list_clips(clips: Clips, sample_rate: int, given_rate: int | None = None) -> list[NamedClip]:
    """List the files that paths name, or the waveforms that are given.

    Args:
        clips: As `embed` takes them.
        sample_rate: Rate of the encoder, Hz.
        given_rate: Rate of waveforms in memory, Hz; None: that of the encoder.

    Raises:
        UserError: Nothing is named, or waveforms are of another shape or type.
    """
    items: Any = clips if isinstance(clips, (str, Path, np.ndarray, Tensor)) else list(clips)
    first = items[0] if isinstance(items, list) and items else items
    if not isinstance(first, (np.ndarray, Tensor)):
        if given_rate is not None:
            raise UserError("sample_rate is of waveforms in memory: files have their own")
        paths = list_files(items)
        return [NamedClip(path, partial(FileClip, path, sample_rate)) for path in paths]
    rate = given_rate or sample_rate
    waveforms = _rows(items) if isinstance(items, (np.ndarray, Tensor)) else map(_one, items)
    return [
        NamedClip(Path(f"waveform {number}"), partial(ArrayClip, waveform, rate, sample_rate))
        for number, waveform in enumerate(waveforms)
    ]


def without_padding(clips: Clips, lengths: Lengths) -> list[Float[np.ndarray, " samples"]]:
    """List the valid samples of each waveform of a padded batch.

    Raises:
        UserError: There is no batch, or lengths do not fit it.
    """
    if not isinstance(clips, (np.ndarray, Tensor)):
        raise UserError(
            "lengths belong to a padded batch: files and lists of arrays have their own"
        )
    return _rows(clips, lengths)


def _rows(
    waveforms: Samples, lengths: Lengths | None = None
) -> list[Float[np.ndarray, " samples"]]:
    batch, sizes = batch_of(waveforms, lengths, sample_rate=1)
    rows = zip(batch, sizes.tolist(), strict=True)
    return [row[:size].float().cpu().numpy() for row, size in rows]


def _one(waveform: Samples) -> Float[np.ndarray, " samples"]:
    rows = _rows(waveform)
    if len(rows) != 1:
        raise UserError(f"a list of batches ({len(rows)} rows in one): give a list of waveforms")
    return rows[0]
