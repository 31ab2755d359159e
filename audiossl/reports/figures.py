"""The figures of a report as PNG, for slides and papers: scores, curves, map."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from audiossl.probing.metrics import metric_label
from audiossl.reports.curves import Rows, shown_figures
from audiossl.reports.maps import Maps
from audiossl.reports.scores import label, ordered
from audiossl.whole import whole_file

_BASELINE, _ENCODER = "#8d949b", "#1f6fb5"


def write_figures(
    folder: Path, tasks: Sequence[Mapping[str, Any]], runs: Mapping[str, Rows], maps: Maps | None
) -> list[str]:
    """Draw what there is; return the names of the files."""
    drawn = []
    for name, figure in {
        "scores.png": _scores(tasks),
        "curves.png": _curves(runs),
        "map.png": _map(maps),
    }.items():
        if figure is not None:
            buffer = BytesIO()
            figure.savefig(buffer, format="png", dpi=160, metadata={"Software": None})
            with whole_file(folder / name) as temporary:
                temporary.write_bytes(buffer.getvalue())
            drawn.append(name)
    return drawn


def _axes(rows: int, columns: int, width: float, height: float) -> tuple[Any, list[Any]]:
    # Imported here: it takes long, and pages do without. A Figure of its own touches no display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _scores(tasks: Sequence[Mapping[str, Any]]) -> Any:
    """Draw every task's scores under its first probe, with intervals."""
    if not tasks:
        return None
    most = max(len({row["encoder"] for row in task["rows"]}) for task in tasks)
    figure, axes = _axes(1, len(tasks), 3.6, 0.6 + 0.28 * most)
    for axis, task in zip(axes, tasks, strict=True):
        metric, first = task["metric"], task["rows"][0]["probe"]
        rows = [row for row in ordered(task["rows"]) if row["probe"] in (first, "none")]
        for place, row in enumerate(rows[::-1]):
            found = row["scores"][metric]
            color = _ENCODER if row["role"] == "encoder" else _BASELINE
            if found.get("low") is not None:
                axis.plot([found["low"], found["high"]], [place, place], color=color, lw=1.4)
            axis.plot(found["score"], place, "o", color=color, ms=4.5)
        axis.set_yticks(range(len(rows)), [label(r["encoder"], r["role"]) for r in rows[::-1]])
        axis.tick_params(labelsize=8)
        axis.set_title(f"{task['name']}: {metric_label(metric)}", fontsize=9, loc="left")
        axis.set_xlim(left=0)
    return figure


def _curves(runs: Mapping[str, Rows]) -> Any:
    shown = shown_figures(runs)
    if not shown:
        return None
    figure, axes = _axes(1, len(shown), 4.2, 2.8)
    for axis, figure_name in zip(axes, shown, strict=True):
        for name, rows in runs.items():
            points = [(row["step"], row[figure_name]) for row in rows if figure_name in row]
            axis.plot(*zip(*points, strict=True), lw=1.4, label=name)
        axis.set_title(f"{figure_name} by step", fontsize=9, loc="left")
        axis.tick_params(labelsize=8)
    axes[0].legend(fontsize=8, frameon=False)
    return figure


def _map(maps: Maps | None) -> Any:
    if maps is None or not maps.places or not maps.labels:
        return None
    from matplotlib import colormaps

    name, values = next(iter(maps.labels.items()))
    classes = sorted({value for value in values if value})
    colors = colormaps["turbo" if len(classes) > 10 else "tab10"]
    figure, axes = _axes(1, len(maps.places), 3.4, 3.9)
    for axis, (encoder, places) in zip(axes, maps.places.items(), strict=True):
        for index, value in enumerate(["", *classes]):
            own = [place for place, said in zip(places, values, strict=True) if said == value]
            share = index - 1 if len(classes) <= 10 else (index - 1) / len(classes)
            color = "#d5d5cf" if not value else colors(share)
            axis.scatter(*zip(*own or [(float("nan"),) * 2], strict=True), s=5, color=color)
        axis.set_title(f"{encoder}, by {name}", fontsize=9, loc="left")
        axis.set_xticks([])
        axis.set_yticks([])
    return figure
