"""Where windows over a clip begin and end: all ways in which this package cuts sound into pieces.

Steps are samples or frames, whichever the caller counts in.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise


def covering_starts(length: int, window: int, hop: int, unit: int = 1) -> list[int]:
    """Start windows every `hop` steps; the last ends with the clip and may share more.

    >>> covering_starts(10, window=4, hop=4)
    [0, 4, 6]

    Args:
        length: Steps of the clip; a clip shorter than a window has one.
        window: Steps of a window.
        hop: Steps from one start to the next.
        unit: All starts are multiples of it, if `hop` is; the last window then ends up to `unit`
            steps later.
    """
    last = max(0, math.ceil((length - window) / unit) * unit)
    return [*range(0, last, hop), last]


def even_starts(length: int, window: int, overlap: float) -> list[int]:
    """Spread as few windows as will do evenly, so that every one is full of sound.

    >>> even_starts(10, window=4, overlap=0.0)
    [0, 3, 6]

    Args:
        length: Steps of the clip.
        window: Steps of a window.
        overlap: Smallest share of a window that neighbors have in common, from 0 to below 1.
    """
    room = length - window
    if room <= 0:
        return [0]
    last = math.ceil(room / max(1, math.floor(window * (1 - overlap))))
    return [round(i * room / last) for i in range(last + 1)]


def equal_spans(length: int | float, count: int) -> list[tuple[int, int]]:
    """Cut a clip into pieces that differ by no more than a step, end to end.

    >>> equal_spans(10, 3)
    [(0, 3), (3, 7), (7, 10)]
    """
    bounds = [round(number * length / count) for number in range(count + 1)]
    return list(pairwise(sorted(set(bounds))))


@dataclass(frozen=True)
class ContextSpan:
    """A window with what is encoded beside it and then dropped."""

    begin: int
    """First step that is encoded."""
    end: int
    """Step behind the last one that is encoded; may lie behind the end of the clip."""
    first: int
    """First step that is kept."""
    keep: int
    """Number of steps that are kept."""


def context_spans(length: int, window: int, context: int) -> Iterator[ContextSpan]:
    """Cut a clip into windows, each with context on either side.

    >>> [(span.begin, span.end, span.first, span.keep) for span in context_spans(9, 4, 1)]
    [(0, 5, 0, 4), (3, 9, 4, 4), (7, 13, 8, 1)]
    """
    for first in range(0, length, window):
        keep = min(window, length - first)
        yield ContextSpan(max(0, first - context), first + window + context, first, keep)
