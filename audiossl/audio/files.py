"""Audio files of any kind, rate and number of channels, as float32; what is wrong with one is said.

Everything that libsndfile reads (wav, flac, ogg vorbis and opus, mp3, aiff and more) is read by its
content, whatever its name says, block by block, so that memory holds the result and one block.
"""

import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float

from audiossl.audio.damage import count_samples, truncated
from audiossl.audio.joined import check_alone
from audiossl.audio.kinds import why_unreadable
from audiossl.audio.resampling import BLOCK, num_resampled, resample_blocks
from audiossl.audio.timing import num_samples_of
from audiossl.errors import Skip, UserError

_SMALL_BLOCK = 2**10  # the same where the last block, in which decoding stops, is lost
_RATES = (1_000, 768_000)
_LOUDEST = 100.0  # 40 dB over full scale: no microphone, and no mixing desk
_DENSEST = 20_000  # samples per byte: more than the silence of any codec
_CONTEXT = 0.03  # seconds around a piece that the resampling filter may look at
_TOLERANCE = 0.01  # seconds by which manifests round durations


@dataclass(frozen=True)
class AudioInfo:
    """What the header of a file says."""

    num_samples: int
    """Number of samples per channel."""
    sample_rate: int
    num_channels: int
    container: str
    """Container format in libsndfile's terms: WAV, FLAC, OGG, MP3 ..."""
    encoding: str
    """Sample encoding in libsndfile's terms: PCM_16, VORBIS, OPUS ..."""

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.num_samples / self.sample_rate


@dataclass(frozen=True)
class Audio:
    """Sound with all its channels."""

    samples: Float[np.ndarray, "channels samples"]
    """Full scale is -1 to 1; float files may go beyond."""
    sample_rate: int


def audio_info(path: Path | str) -> AudioInfo:
    """Say what a file holds, without decoding it.

    Raises:
        Skip: The file is missing, unreadable, empty, not audio, truncated, or makes no sense.
    """
    with _opened(Path(path)) as file:
        return _info(file)


def read_if_short(
    path: Path | str, *, sample_rate: int, longest: float
) -> tuple[AudioInfo, Float[np.ndarray, " samples"] | None]:
    """Say what a file holds and, if it lasts at most `longest` seconds, read it as mono.

    One opening and one look at the header for what `audio_info` and `read_waveform` do in two.

    Raises:
        Skip: As these two do.
    """
    path = Path(path)
    with _opened(path) as file:
        info = _info(file)
        if info.num_samples > longest * info.sample_rate:
            return info, None
        span = _Span(0.0, None, sample_rate, allow_truncated=False)
        return info, _decoded(path, file, span, mono=True)[0][0]


def read_waveform(
    path: Path | str,
    *,
    sample_rate: int = 16_000,
    start: float = 0.0,
    duration: float | None = None,
    allow_truncated: bool = False,
) -> Float[np.ndarray, " samples"]:
    """Read a file, or a piece of it, as mono: the mean of its channels, never rescaled.

    Args:
        path: Audio file.
        sample_rate: Of the result, in Hz.
        start: Where the piece begins, in seconds.
        duration: How long it is, in seconds; to the end of the file if None.
        allow_truncated: Take what is there of a file that ends too early.

    Returns:
        Samples `round(start * sample_rate)` to `round((start + duration) * sample_rate)` of the
        resampled file; a piece equals that slice of the whole. Where the file ends up to 10 ms
        before the piece (manifests round), what there is.

    Raises:
        Skip: The file is missing, unreadable, empty, not audio, damaged or truncated, holds NaN or
            infinity, or does not reach as far as `start` and `duration` ask.
        UserError: `start`, `duration` or `sample_rate` make no sense.
    """
    span = _Span(start, duration, sample_rate, allow_truncated)
    return _read(Path(path), span, mono=True)[0][0]


def read_audio(
    path: Path | str,
    *,
    sample_rate: int | None = None,
    start: float = 0.0,
    duration: float | None = None,
    allow_truncated: bool = False,
) -> Audio:
    """Read a file with all its channels, at its own sample rate if none is given.

    Arguments, rounding and errors are those of `read_waveform`.
    """
    span = _Span(start, duration, sample_rate, allow_truncated)
    return Audio(*_read(Path(path), span, mono=False))


class _Stream(soundfile.SoundFile):
    """A file that is read on and on.

    SoundFile seeks to where it already is after every block. That is no matter in a wav, but an mp3
    decoder then starts anew without its earlier bits: wrong samples in small blocks, and complaints
    of libmpg123 on stderr.
    """

    num_samples: int
    """Number of samples per channel; `frames` is but an estimate for some mp3."""

    def seekable(self) -> bool:
        """Keep SoundFile from seeking by itself; `seek` works as before."""
        return False


@dataclass(frozen=True)
class _Span:
    start: float
    duration: float | None
    sample_rate: int | None
    allow_truncated: bool

    def __post_init__(self) -> None:
        if self.start < 0 or (self.duration is not None and self.duration <= 0):
            raise UserError(
                f"a piece of audio from {self.start} s, {self.duration} s long, does not exist: "
                "start must be at least 0 and duration above 0"
            )
        if self.sample_rate is not None and not _RATES[0] <= self.sample_rate <= _RATES[1]:
            raise UserError(
                f"sample_rate={self.sample_rate}: expected {_RATES[0]} to {_RATES[1]} Hz"
            )


def _info(file: _Stream) -> AudioInfo:
    return AudioInfo(file.num_samples, file.samplerate, file.channels, file.format, file.subtype)


def _read(
    path: Path, span: _Span, *, mono: bool
) -> tuple[Float[np.ndarray, "channels samples"], int]:
    with _opened(path, span.allow_truncated) as file:
        return _decoded(path, file, span, mono=mono)


def _decoded(
    path: Path, file: _Stream, span: _Span, *, mono: bool
) -> tuple[Float[np.ndarray, "channels samples"], int]:
    if span.duration is None:
        check_alone(path, file.format)
    from_rate, to_rate = file.samplerate, span.sample_rate or file.samplerate
    first, last = _bounds(path, file, span, to_rate)
    # The piece is cut out of a stretch that begins where the samples of both rates coincide,
    # and that has room on both sides for the resampling filter.
    divisor = math.gcd(from_rate, to_rate)
    step, context = from_rate // divisor, math.ceil(_CONTEXT * from_rate)
    block = max(0, (first * from_rate // to_rate - context) // step)
    stop = min(file.num_samples, math.ceil(last * from_rate / to_rate) + context)
    blocks = _blocks(path, file, (block * step, stop), span.allow_truncated, mono=mono)
    num_channels = 1 if mono else file.channels
    num_samples = num_resampled(stop - block * step, from_rate, to_rate)
    samples: np.ndarray = np.empty((num_channels, num_samples), np.float32)
    filled = 0
    for piece in resample_blocks(blocks, from_rate, to_rate):
        samples[:, filled : filled + len(piece)] = piece.T
        filled += len(piece)
    offset = block * (to_rate // divisor)
    samples = samples[:, first - offset : min(last - offset, filled)]
    if not samples.shape[1]:
        raise truncated(path, "nothing of it can be decoded")
    return samples, to_rate


def _bounds(path: Path, file: _Stream, span: _Span, to_rate: int) -> tuple[int, int]:
    """Give the first and last sample, at `to_rate`, of the piece that is asked for."""
    end = math.inf if span.duration is None else span.start + span.duration
    seconds = file.num_samples / file.samplerate
    if span.start >= seconds or (end > seconds + _TOLERANCE and end < math.inf):
        asked = f"{span.start} s on" if end == math.inf else f"{span.start} to {end} s"
        raise Skip(f"{path}: lasts {seconds:.3f} s, asked for {asked}: correct the manifest")
    total = num_resampled(file.num_samples, file.samplerate, to_rate)
    first, last = num_samples_of(span.start, to_rate), total
    if end < math.inf:
        last = min(total, num_samples_of(end, to_rate))
    if first >= last:
        raise Skip(
            f"{path}: not one sample at {to_rate} Hz ({file.num_samples} at {file.samplerate} Hz)"
        )
    return first, last


def _blocks(
    path: Path, file: _Stream, span: tuple[int, int], allow_truncated: bool, *, mono: bool
) -> Iterator[Float[np.ndarray, "samples channels"]]:
    """Decode samples `span[0]` to `span[1]`, and raise where they are missing or no numbers."""
    position, stop = _seek(file, span[0]), span[1]
    size = max(1, (_SMALL_BLOCK if allow_truncated else BLOCK) // file.channels)
    while position < stop:
        try:
            block = file.read(min(size, stop - position), dtype="float32", always_2d=True)
        except soundfile.LibsndfileError:
            block = np.empty((0, file.channels), np.float32)
        if not len(block):
            if allow_truncated:
                return
            raise truncated(path, f"decoding stops at {position} of {file.num_samples} samples")
        _check_values(path, block, position / file.samplerate)
        skipped = max(0, span[0] - position)
        position += len(block)
        if skipped < len(block):
            mixed = mono and file.channels > 1  # a mean of one is a slow copy
            yield (block.mean(axis=1, keepdims=True) if mixed else block)[skipped:]


def _seek(file: _Stream, position: int) -> int:
    """Go to `position`, or stay at 0 where going is not sound; returns where the file is."""
    # After a jump into an mp3 libmpg123 lacks earlier bits and complains on stderr.
    return 0 if file.format == "MP3" else file.seek(position)


def _check_values(path: Path, block: Float[np.ndarray, "samples channels"], seconds: float) -> None:
    peak = max(block.max(), -block.min())  # NaN and infinity come through, without a copy
    if not np.isfinite(peak):
        raise Skip(f"{path}: NaN or infinite samples from about {seconds:.2f} s: write it again")
    if peak > _LOUDEST:
        raise Skip(
            f"{path}: samples as large as {peak:.4g} in a float file, where full scale is 1: "
            "divide them by the scale they were written with (32768 for 16-bit integers)"
        )


@contextmanager
def _opened(path: Path, allow_truncated: bool = False) -> Iterator[_Stream]:
    descriptor = _descriptor(path)
    try:
        # By descriptor, so that libsndfile sees the content and not the name.
        with _Stream(descriptor, closefd=False) as file:
            _check_header(path, file)
            file.num_samples = file.frames if allow_truncated else count_samples(path, file)
            yield file
    except soundfile.LibsndfileError as error:
        raise Skip(f"{path}: {why_unreadable(path)} ({error.error_string.strip(' .')})") from error
    finally:
        os.close(descriptor)


def _descriptor(path: Path) -> int:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise Skip(f"{path}: not a file; give the path of one audio file")
        if not status.st_size:
            raise Skip(f"{path}: empty file (0 bytes): copy or download it again")
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError as error:
        raise Skip(f"{path}: no such file; correct the path or the manifest") from error
    except OSError as error:
        raise Skip(f"{path}: cannot be read ({error.strerror}): check its permissions") from error
    except ValueError as error:
        raise Skip(f"{path!r}: no path ({error}); correct the manifest") from error


def _check_header(path: Path, file: soundfile.SoundFile) -> None:
    if not _RATES[0] <= file.samplerate <= _RATES[1]:
        raise Skip(
            f"{path}: its header says {file.samplerate} Hz, expected {_RATES[0]} to {_RATES[1]}: "
            "write it again with its true sample rate"
        )
    if file.frames <= 0:
        raise Skip(f"{path}: a header without samples: copy or record it again")
    if file.frames > _DENSEST * path.stat().st_size:
        raise Skip(
            f"{path}: its header says nothing of its length, or nonsense ({file.frames} samples): "
            "write it again (ffmpeg -i ... out.flac)"
        )
