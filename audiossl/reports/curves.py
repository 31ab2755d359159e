"""Which figures of training runs are drawn over their steps, and their points."""

import math
from collections.abc import Mapping, Sequence

Rows = Sequence[Mapping[str, float | int]]
"""Lines of a metrics.jsonl."""
SHOWN = ("loss", "accuracy")
"""Names of figures, or what a name that is a path ends with: speech_codes/.../masked/accuracy."""


def shown_figures(runs: Mapping[str, Rows]) -> list[str]:
    """Name the figures of runs that are drawn: those with a finite value at some step."""
    names = sorted({name for rows in runs.values() for row in rows for name in row})
    return [
        name
        for end in SHOWN
        for name in names
        if name.rpartition("/")[2] == end and any(points(rows, name) for rows in runs.values())
    ]


def points(rows: Rows, figure: str) -> list[tuple[float, float]]:
    """List the steps at which a run has a figure, with its finite values."""
    steps_and_values = [(float(row["step"]), float(row[figure])) for row in rows if figure in row]
    return [(step, value) for step, value in steps_and_values if math.isfinite(value)]
