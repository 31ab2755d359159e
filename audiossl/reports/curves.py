"""Training curves: one small chart a figure, one line a run, drawn as SVG that any width fits."""

import math
from collections.abc import Mapping, Sequence
from html import escape

Rows = Sequence[Mapping[str, float | int]]
"""Lines of a metrics.jsonl."""
SHOWN = ("loss", "accuracy")
"""Names of figures, or what a name that is a path ends with: speech_codes/.../masked/accuracy."""
_COLORS = 6


def curves(runs: Mapping[str, Rows]) -> str:
    """Draw the figures of runs over their steps.

    Args:
        runs: Name to the lines of its metrics.jsonl.
    """
    charts = "".join(
        _chart(figure, {name: _points(rows, figure) for name, rows in runs.items()})
        for figure in shown_figures(runs)
        if any(_points(rows, figure) for rows in runs.values())
    )
    if not charts:
        return ""
    legend = "".join(
        f'<li><i style="background:{color(index)}"></i>{escape(name)}</li>'
        for index, name in enumerate(runs)
    )
    return f'<ul class="legend">{legend}</ul><div class="grid">{charts}</div>'


def shown_figures(runs: Mapping[str, Rows]) -> list[str]:
    """Name the figures of runs that are drawn."""
    names = sorted({name for rows in runs.values() for row in rows for name in row})
    return [name for end in SHOWN for name in names if name.rpartition("/")[2] == end]


def color(index: int) -> str:
    """Name the color of a series."""
    return f"var(--s{index % _COLORS})"


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Choose round values within a range."""
    span = max(high - low, 1e-12)
    step = 10 ** math.floor(math.log10(span / most))
    while span / step > most:
        step *= 2 if span / (2 * step) <= most else 2.5 if span / (2.5 * step) <= most else 5
    first = math.ceil(low / step - 1e-9)
    return [float(index * step) for index in range(first, math.floor(high / step + 1e-9) + 1)]


Points = list[tuple[float, float]]


def _points(rows: Rows, figure: str) -> Points:
    found = [(float(row["step"]), float(row[figure])) for row in rows if figure in row]
    return [(step, value) for step, value in found if math.isfinite(value)]


def _chart(figure: str, series: Mapping[str, Points]) -> str:
    steps = [step for points in series.values() for step, _ in points]
    values = [value for points in series.values() for _, value in points]
    right, low, high = max(steps), min(0.0, min(values)), max(values)

    def place(step: float, value: float) -> str:
        return f"{100 * step / right:.2f} {100 - 100 * (value - low) / (high - low):.2f}"

    lines = "".join(
        f'<path style="stroke:{color(index)}" d="M{"L".join(place(*point) for point in points)}"/>'
        for index, points in enumerate(series.values())
        if points
    )
    heights, widths = ticks(low, high), ticks(0.0, right, 4)
    rules = "".join(f'<path class="rule" d="M{place(0.0, y)}H100"/>' for y in heights)
    labels = "".join(
        f'<span class="y" style="bottom:{100 * (y - low) / (high - low):.2f}%">{y:.4g}</span>'
        for y in heights
    )
    labels += "".join(
        f'<span class="x" style="left:{100 * x / right:.2f}%">{x:,.0f}</span>' for x in widths
    )
    return (
        f'<figure><figcaption>{escape(figure)} by step</figcaption><div class="plot">'
        f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(figure)} by step">{rules}{lines}</svg>{labels}</div></figure>'
    )
