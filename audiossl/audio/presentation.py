"""How clips are presented to an encoder: level, windows, padding, pooling.

An encoder should be given what it was trained on: one that was trained on crops of a second, each
leveled by the whole recording and padded with silence, embeds other things when it is given whole
clips, or windows that are leveled one by one. Pretraining writes its presentation beside the
weights, and whatever embeds a clip (`embed`, probes, pages of pairs) follows it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from audiossl.audio.windows import covering_starts, equal_spans

CHUNK = 30.0
"""Seconds of the pieces in which longer clips are encoded where there are no windows."""
_BLOCK = 2**22
"""Samples whose energy is summed at once."""

Waveform = Float[np.ndarray, " samples"]
Reader = Callable[[int, int], Waveform]
"""Samples of a clip from a first one to, and without, a last one."""


@dataclass(frozen=True, kw_only=True)
class Presentation:
    """What a clip goes through before, and its vectors behind, an encoder."""

    sample_rate: int = 16_000
    """Sample rate of the waveforms, Hz."""
    window_samples: int | None = None
    """Length of a window in samples. None: clips are encoded whole, and those above 45 s in equal
    pieces of about 30 s."""
    hop_samples: int | None = None
    """Samples from the start of one window to that of the next; None: the length of a window."""
    padding: Literal["none", "center"] = "center"
    """center: a clip shorter than a window lies in the middle of silence, and the rest at the end
    of a longer one is a window that ends with it. none: a shorter clip stays as it is, and a rest
    is left out."""
    level: Literal["own", "none", "l2", "rms"] = "own"
    """Scaling of a clip before it is cut: to unit L2 norm, to the RMS that unit norm gives one
    second, none, or by the encoder itself (own), which levels what it is given at once."""
    pooling: Literal["clip", "mean", "max", "mean_std"] = "clip"
    """Vector of a window: the encoder's own clip vector, or a statistic over its frames. Vectors
    of several windows are averaged."""


def present(
    read: Reader,
    num_samples: int,
    presentation: Presentation,
    frame_rate: float,
    chunk: float = CHUNK,
) -> Iterator[Waveform]:
    """Yield the windows or pieces of a clip, leveled, in order.

    >>> read = lambda start, stop: np.arange(5, dtype=np.float32)[start:stop]
    >>> shown = Presentation(sample_rate=1, window_samples=4)
    >>> [piece.tolist() for piece in present(read, 5, shown, frame_rate=1.0)]
    [[0.0, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0]]

    Args:
        read: Reads samples of the clip; spans are asked for in the order of their starts.
        num_samples: Length of the clip.
        presentation: Level, windows and padding.
        frame_rate: Frames a second of the encoder, on whose grid pieces begin.
        chunk: Seconds of a piece, where there are no windows.
    """
    scale = level_scale(energy_of(read, num_samples, presentation), num_samples, presentation)
    if presentation.window_samples is None:
        spans = piece_spans(num_samples, presentation.sample_rate, frame_rate, chunk)
    else:
        spans = window_spans(num_samples, presentation)
    for start, stop in spans:
        waveform = read_span(read, num_samples, start, stop)
        yield waveform if scale == 1 else waveform * scale


def read_span(read: Reader, num_samples: int, start: int, stop: int) -> Waveform:
    """Read samples of a clip, with zeros where it has none."""
    waveform = read(max(start, 0), min(stop, num_samples))
    if start < 0 or stop > num_samples:
        waveform = np.pad(waveform, (max(0, -start), max(0, stop - num_samples)))
    return waveform


def mean_of_windows(
    values: Float[np.ndarray, "rows columns"], starts: Int[np.ndarray, " clips"]
) -> Float[np.ndarray, "clips columns"]:
    """Average the vectors of each clip's windows, which lie side by side.

    >>> mean_of_windows(np.array([[1.0], [3.0], [8.0]]), np.array([0, 2]))
    array([[2.],
           [8.]])

    Args:
        values: A row a window.
        starts: First row of each clip; every clip has at least one.
    """
    counts = np.diff(np.append(starts, len(values)))
    return np.add.reduceat(values, starts, axis=0) / counts[:, None].astype(values.dtype)


def level_scale(energy: float, num_samples: int, presentation: Presentation) -> np.float32:
    """Find the factor that levels a clip.

    Args:
        energy: Sum of squares of the clip's samples.
        num_samples: Length of the clip.
        presentation: Which level.
    """
    if presentation.level in ("own", "none"):
        return np.float32(1.0)
    if presentation.level == "rms":
        energy *= presentation.sample_rate / num_samples
    return np.float32(1.0 / np.sqrt(max(energy, 1e-9)))


def energy_of(read: Reader, num_samples: int, presentation: Presentation) -> float:
    """Sum the squares of a clip's samples, where its level asks for them."""
    if presentation.level in ("own", "none"):
        return 0.0
    starts = range(0, num_samples, _BLOCK)
    blocks = (read(start, min(start + _BLOCK, num_samples)) for start in starts)
    return sum(float(np.square(block, dtype=np.float64).sum()) for block in blocks)


def window_spans(num_samples: int, presentation: Presentation) -> list[tuple[int, int]]:
    """Find where windows begin and end; outside of the clip there is silence.

    >>> window_spans(10, Presentation(window_samples=4))
    [(0, 4), (4, 8), (6, 10)]
    >>> window_spans(1, Presentation(window_samples=4))
    [(-1, 3)]
    """
    size, centered = presentation.window_samples or num_samples, presentation.padding == "center"
    if num_samples < size:
        before = (size - num_samples) // 2
        return [(-before, size - before)] if centered else [(0, num_samples)]
    hop = presentation.hop_samples or size
    covering = covering_starts(num_samples, size, hop)
    starts = covering if centered else range(0, num_samples - size + 1, hop)
    return [(start, start + size) for start in starts]


def piece_spans(
    num_samples: int, sample_rate: int, frame_rate: float, chunk: float = CHUNK
) -> list[tuple[int, int]]:
    """Cut a clip that is much longer than `chunk` seconds into equal pieces of whole frames.

    >>> piece_spans(90, sample_rate=1, frame_rate=0.1, chunk=40.0)
    [(0, 40), (40, 90)]
    """
    count = max(1, round(num_samples / sample_rate / chunk))
    # A network without frames (rate 0) has no grid but that of its samples.
    hop = sample_rate / (frame_rate or sample_rate)
    *inner, (last, _) = equal_spans(num_samples / hop, count) or [(0, 0)]
    spans = [(round(first * hop), round(stop * hop)) for first, stop in inner]
    return [*spans, (round(last * hop), num_samples)]
