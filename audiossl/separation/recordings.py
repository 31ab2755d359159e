"""From recordings of any length to their stems: windows of many recordings in one batch.

Memory holds the recording that is being cut, one batch of windows, and one window of stems;
finished stems are handed out piece by piece.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from audiossl.audio.resampling import context, num_resampled, resample
from audiossl.audio.windows import even_starts
from audiossl.errors import UserError
from audiossl.preemption import safe_point
from audiossl.separation.cross_fade import CrossFade
from audiossl.separation.separator import Separator

# The leading underscore keeps jaxtyping from asking all recordings for one length.
Recording = Float32[np.ndarray, " _samples"] | Float32[np.ndarray, "_channels _samples"]
_STATISTICS_BLOCK = 2**20


@dataclass(frozen=True)
class StemPiece:
    """The next samples of the stems of one recording."""

    recording: int
    """Index of the recording, from 0."""
    stems: dict[str, Float32[np.ndarray, " _samples"]]
    """Mono, at the output rate, all of one length."""
    last: bool
    """Whether the recording ends with them."""


def separate_recordings(
    separator: Separator,
    recordings: Iterable[Recording],
    *,
    sample_rate: int = 16_000,
    output_rate: int = 16_000,
    batch_size: int = 1,
) -> Iterator[dict[str, Float32[np.ndarray, " _samples"]]]:
    """Separate recordings one after another, batching their windows together.

    The stems of a recording are the same whatever it is batched with (up to rounding of float32,
    some 1e-6 of full scale), and bit for bit the same when the same call is made again on the same
    machine: windows lie at fixed places of their own recording, and nothing is drawn at random.

    Args:
        separator: What takes the mixtures apart.
        recordings: Mono (samples) or with channels (channels, samples), full scale -1 to 1; taken
            one at a time, so that a generator may read them from disk.
        sample_rate: Of the recordings, in Hz; the separator's own, or any that shares a large
            divisor with it, such as 16 kHz.
        output_rate: Of the stems, in Hz.
        batch_size: Windows that are separated at once: 1 on a CPU, whose caches more would leave
            (half the speed at 8); as many as fit on an accelerator.

    Yields:
        For each recording its mono stems by name, as long as the recording (rounded to the output
        rate), at the level they have in the mixture. A constant offset (DC) belongs to no source
        and is left out by separators that standardize their input.

    Raises:
        UserError: A recording is empty, or the rates do not go together.
    """
    pieces: list[StemPiece] = []
    stream = separate_in_pieces(
        separator,
        recordings,
        sample_rate=sample_rate,
        output_rate=output_rate,
        batch_size=batch_size,
    )
    for piece in stream:
        pieces.append(piece)
        if piece.last:
            yield {
                name: np.concatenate([piece.stems[name] for piece in pieces])
                for name in separator.names
            }
            pieces.clear()


def separate_in_pieces(
    separator: Separator,
    recordings: Iterable[Recording],
    *,
    sample_rate: int = 16_000,
    output_rate: int = 16_000,
    batch_size: int = 1,
) -> Iterator[StemPiece]:
    """Do as `separate_recordings`, but hand out stems as they become final.

    For recordings of hours: the pieces of one recording come in order, and recordings one after
    another.
    """
    grid = _Grid.of(separator, sample_rate, output_rate)
    windows = _windows(separator, recordings, grid)
    fade = CrossFade(len(separator.names), grid.window * grid.output_step)
    while batch := list(islice(windows, batch_size)):
        safe_point()
        for window, stems in zip(batch, _separate(separator, batch, grid), strict=True):
            if window.start == 0:
                fade = CrossFade(len(separator.names), grid.window * grid.output_step)
            finished = fade.add(stems, window.start * grid.output_step)
            if finished.shape[1]:
                yield _piece(separator, window, finished, last=False)
            if window.total is not None:
                yield _piece(separator, window, fade.flush(window.total), last=True)


@dataclass(frozen=True)
class _Grid:
    """Steps of time that are whole samples at all three rates: 10 ms for 16 and 44.1 kHz."""

    sample_rate: int
    output_rate: int
    step: int
    """Samples of a step in the recordings."""
    inner_step: int
    """The same in the separator."""
    output_step: int
    """The same in the stems."""
    window: int
    """Steps of a window."""
    margin: int
    """Steps on either side of a window that the resampling filter looks at."""

    @staticmethod
    def of(separator: Separator, sample_rate: int, output_rate: int) -> "_Grid":
        steps_per_second = math.gcd(sample_rate, separator.sample_rate, output_rate)
        rates = (sample_rate, separator.sample_rate, output_rate)
        step, inner_step, output_step = (rate // steps_per_second for rate in rates)
        window = separator.window // inner_step
        if window < 1:
            raise UserError(
                f"recordings at {sample_rate} Hz cannot be cut into windows for a separator at "
                f"{separator.sample_rate} Hz: read them with sample_rate={separator.sample_rate}"
            )
        margin = math.ceil(context(sample_rate, separator.sample_rate) / step)
        return _Grid(sample_rate, output_rate, step, inner_step, output_step, window, margin)


@dataclass(frozen=True)
class _Window:
    recording: int
    start: int
    """Start in steps."""
    samples: Float32[np.ndarray, "channels samples"]
    """Samples with margins; zeros beyond the ends of the recording."""
    num_valid: int
    """Samples between the margins that belong to the recording."""
    scale: float
    """Factor that the samples were divided by."""
    total: int | None
    """Samples of the recording's stems, in its last window."""


def _windows(
    separator: Separator, recordings: Iterable[Recording], grid: _Grid
) -> Iterator[_Window]:
    for index, recording in enumerate(recordings):
        samples = np.atleast_2d(recording)
        if not samples.size:
            raise UserError(f"recording {index} is empty: leave it out")
        mean, scale = _statistics(samples) if separator.standardizes else (0.0, 1.0)
        total = num_resampled(samples.shape[1], grid.sample_rate, grid.output_rate)
        num_steps = math.ceil(samples.shape[1] / grid.step)
        starts = even_starts(num_steps, grid.window, separator.overlap)
        for start in starts:
            yield _Window(
                index,
                start,
                _cut(samples, start, grid, mean, scale),
                min(grid.window * grid.step, samples.shape[1] - start * grid.step),
                scale,
                total if start == starts[-1] else None,
            )


def _statistics(samples: Float32[np.ndarray, "channels samples"]) -> tuple[float, float]:
    """Mean and standard deviation of the mean channel, as Demucs' own Separator takes them."""
    count, total, squares = samples.shape[1], 0.0, 0.0
    for start in range(0, count, _STATISTICS_BLOCK):
        block = samples[:, start : start + _STATISTICS_BLOCK].mean(axis=0, dtype=np.float64)
        total, squares = total + block.sum(), squares + np.square(block).sum()
    variance = max(0.0, squares - total**2 / count) / max(1, count - 1)
    return total / count, math.sqrt(variance) + 1e-8


def _cut(
    samples: Float32[np.ndarray, "channels samples"],
    start: int,
    grid: _Grid,
    mean: float,
    scale: float,
) -> Float32[np.ndarray, "channels window"]:
    first = (start - grid.margin) * grid.step
    last = (start + grid.window + grid.margin) * grid.step
    window = np.zeros((len(samples), last - first), np.float32)
    inside = samples[:, max(0, first) : last]
    offset = max(0, -first)
    window[:, offset : offset + inside.shape[1]] = (inside - np.float32(mean)) / np.float32(scale)
    return window


def _separate(
    separator: Separator, batch: list[_Window], grid: _Grid
) -> Float[Tensor, "batch stems samples"]:
    """Bring windows to the separator's rate, apart, and to the output rate; returned on the CPU."""
    mixtures = torch.from_numpy(np.stack([window.samples for window in batch]))
    lengths = torch.tensor(
        [-(-window.num_valid * grid.inner_step // grid.step) for window in batch]
    )
    scales = torch.tensor([window.scale for window in batch])
    # The fastest convolution is otherwise found by trying, and may be another one next time.
    fixed = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)
    with torch.inference_mode(), fixed:
        mixtures = mixtures.to(separator.device)
        if mixtures.shape[1] != separator.num_channels:
            mixtures = mixtures.mean(dim=1, keepdim=True)
        inner = resample(mixtures, grid.sample_rate, separator.sample_rate)
        first = grid.margin * grid.inner_step
        inner = inner[..., first : first + grid.window * grid.inner_step]
        inner = inner.expand(-1, separator.num_channels, -1)
        stems = separator.separate(inner, lengths.to(separator.device))
        stacked = torch.stack([stems[name] for name in separator.names], dim=1)
        output = resample(stacked, separator.sample_rate, grid.output_rate)
        return output[..., : grid.window * grid.output_step].cpu() * scales[:, None, None]


def _piece(
    separator: Separator, window: _Window, stems: Float[Tensor, "stems samples"], *, last: bool
) -> StemPiece:
    by_name = dict(zip(separator.names, stems.numpy(), strict=True))
    return StemPiece(window.recording, by_name, last)
