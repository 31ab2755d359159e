"""Timed segments inside cuts, such as phones, as a label names them.

`0.51-0.60 e|0.60-0.76 g`: begin and end in seconds, and a class.
"""

import math
from dataclasses import dataclass

from audiossl.errors import UserError


@dataclass(frozen=True)
class Segment:
    """A span of a cut, and what it is."""

    begin: float
    """Seconds."""
    end: float
    name: str


def parse_segments(text: str, cut: str) -> list[Segment]:
    """Read the segments that a label names.

    Raises:
        UserError: A piece of it is no segment, or ends before it begins.

    Example:
        >>> parse_segments("0.51-0.60 e|0.60-0.76 g", "cut")[1]
        Segment(begin=0.6, end=0.76, name='g')
    """
    segments = []
    for piece in filter(None, text.split("|")):
        span, _, name = piece.partition(" ")
        begin, _, end = span.partition("-")
        try:
            segment = Segment(float(begin), float(end), name)
        except ValueError:
            segment = Segment(0.0, 0.0, "")
        if not (segment.name and 0 <= segment.begin < segment.end < math.inf):
            raise UserError(
                f"cut {cut}: {piece!r} is no segment: give begin-end in seconds, a space and a "
                "class, and '|' between segments, as in 0.51-0.60 e|0.60-0.76 g"
            )
        segments.append(segment)
    return segments
