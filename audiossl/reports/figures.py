"""Figures of a report, drawn by matplotlib: as SVG in the page, as PNG for slides and papers."""

import re
from collections.abc import Mapping, Sequence
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

from audiossl.atomic_files import atomic_write
from audiossl.probing.metrics import metric_label
from audiossl.probing.results import NO_PROBE, TaskResults
from audiossl.reports.curves import Rows, points, shown_figures
from audiossl.reports.maps import Maps
from audiossl.reports.scores import label, ordered

PALETTE = ("#1f6fb5", "#d0761b", "#2c9265", "#b0427f", "#7355b3", "#b8453a")
"""Colors of series; in a page they are variables --s0, --s1, ... of the light or dark theme."""
_BASELINE = "#8d949b"


def write_figures(
    folder: Path, tasks: Sequence[TaskResults], runs: Mapping[str, Rows], maps: Maps | None
) -> list[str]:
    """Draw what there is as PNG; return the names of the files."""
    figures = {"scores.png": _scores(tasks), "curves.png": _curves(runs), "map.png": _map(maps)}
    drawn = {name: figure for name, figure in figures.items() if figure is not None}
    for name, figure in drawn.items():
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=160, metadata={"Software": None})
        with atomic_write(folder / name) as temporary:
            temporary.write_bytes(buffer.getvalue())
    return list(drawn)


def curve_svgs(runs: Mapping[str, Rows]) -> dict[str, str]:
    """Draw each figure of runs over their steps, for a page of any width, by day or by night."""
    svgs = {}
    for name in shown_figures(runs):
        figure, (axis,) = _axes(1, 4.2, 2.6)
        _draw_curve(axis, name, runs)
        svgs[name] = _svg(figure, f"{name} by step")
    return svgs


def color(index: int) -> str:
    """Name the color of a series in a page."""
    return f"var(--s{index % len(PALETTE)})"


def _axes(columns: int, width: float, height: float) -> tuple[Any, list[Any]]:
    # Imported here: it takes long, and pages do without. A Figure of its own touches no display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False).flatten().tolist()
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    return figure, axes


def _svg(figure: Any, title: str) -> str:
    """Write a figure as an element of a page, in the colors and the font of the page."""
    from matplotlib import rc_context

    text = StringIO()
    # Text stays text, and the same figure gives the same bytes.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    body = text.getvalue()
    body = body[body.index("<svg") :]
    box = re.search(r'viewBox="[^"]*"', body)
    assert box is not None
    # What matplotlib says of the file is left out, and so are its sizes: the page decides. Names
    # of groups would be there once a figure.
    inside = re.sub(r"<metadata>.*?</metadata>", "", body[body.index(">") + 1 :], flags=re.DOTALL)
    inside = re.sub(r'<g id="[^"]*"', "<g", inside)
    for index, tone in enumerate(PALETTE):
        inside = inside.replace(tone, color(index))
    inside = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", inside)
    inside = inside.replace("#000000", "currentColor")
    return f'<svg class="figure" {box.group()} role="img" aria-label="{title}">{inside}'


def _draw_curve(axis: Any, name: str, runs: Mapping[str, Rows]) -> None:
    for index, (run, rows) in enumerate(runs.items()):
        steps_and_values = points(rows, name)
        if steps_and_values:
            tone = PALETTE[index % len(PALETTE)]
            axis.plot(
                *zip(*steps_and_values, strict=True), lw=1.4, color=tone, label=run, clip_on=False
            )
    axis.set_title(f"{name} by step", fontsize=9, loc="left")


def _curves(runs: Mapping[str, Rows]) -> Any:
    shown = shown_figures(runs)
    if not shown:
        return None
    figure, axes = _axes(len(shown), 4.2, 2.8)
    for axis, name in zip(axes, shown, strict=True):
        _draw_curve(axis, name, runs)
    axes[0].legend(fontsize=8, frameon=False)
    return figure


def _scores(tasks: Sequence[TaskResults]) -> Any:
    """Draw every task's scores under its first probe, with intervals."""
    if not tasks:
        return None
    most = max(len({row.encoder for row in task.rows}) for task in tasks)
    figure, axes = _axes(len(tasks), 3.6, 0.6 + 0.28 * most)
    for axis, task in zip(axes, tasks, strict=True):
        shown = (task.rows[0].probe, NO_PROBE)
        rows = [row for row in ordered(task.rows) if row.probe in shown]
        for place, row in enumerate(rows[::-1]):
            score = task.score(row)
            tone = PALETTE[0] if row.role == "encoder" else _BASELINE
            if score.ends:
                axis.plot(score.ends, [place, place], color=tone, lw=1.4)
            axis.plot(score.value, place, "o", color=tone, ms=4.5)
        axis.set_yticks(range(len(rows)), [label(r.encoder, r.role) for r in rows[::-1]])
        axis.set_title(f"{task.name}: {metric_label(task.metric)}", fontsize=9, loc="left")
        axis.set_xlim(left=min(0.0, axis.get_xlim()[0]))
    return figure


def _map(maps: Maps | None) -> Any:
    if maps is None or not maps.places or not maps.labels:
        return None
    from matplotlib import colormaps

    name, values = next(iter(maps.labels.items()))
    classes = sorted({value for value in values if value})
    colors = colormaps["turbo" if len(classes) > 10 else "tab10"]
    figure, axes = _axes(len(maps.places), 3.4, 3.9)
    for axis, (encoder, places) in zip(axes, maps.places.items(), strict=True):
        for index, value in enumerate(["", *classes]):
            own = [place for place, of_cut in zip(places, values, strict=True) if of_cut == value]
            share = index - 1 if len(classes) <= 10 else (index - 1) / len(classes)
            tone = "#d5d5cf" if not value else colors(share)
            axis.scatter(*zip(*own or [(float("nan"),) * 2], strict=True), s=5, color=tone)
        axis.set_title(f"{encoder}, by {name}", fontsize=9, loc="left")
        axis.set(xticks=[], yticks=[])
    return figure
