"""Scores as tables that are figures: a bar, its interval and the number, baselines in every one."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from audiossl.probing.metrics import metric_label
from audiossl.reports.page import paragraph, table

PROBES = {
    "linear": "Linear probe",
    "mlp": "MLP probe",
    "neighbors": "Nearest neighbors",
    "hear-official": "HEAR's MLP, rows in one order",
    "hear-clean": "HEAR's MLP, rows shuffled",
    "xares_linear-official": "X-ARES, linear",
    "xares_linear-clean": "X-ARES, linear, chosen on held-out items",
    "xares_knn-official": "X-ARES, neighbors, dimensions scaled",
    "xares_knn-clean": "X-ARES, neighbors by cosine",
    "few_shot": "Few shots (MAEB)",
    "marble-official": "MARBLE's MLP, last epoch",
    "marble-clean": "MARBLE's MLP, best epoch",
    "evar": "EVAR, linear",
}
ROLES = ("encoder", "log-mel", "random", "majority", "chance")
"""In the order of a table; single seeds of a system ("seed") stand behind its mean."""
FEW = 200
"""Test items below which a task is said to be small."""

Row = Mapping[str, Any]
Task = Mapping[str, Any]


def overview(tasks: Sequence[Task]) -> str:
    """Write encoders against tasks, each by its own metric under the first probe."""
    names = list(dict.fromkeys(row["encoder"] for task in tasks for row in ordered(task["rows"])))
    head = "".join(task_head(task) for task in tasks)
    lines = []
    for name in names:
        rows = [_first(task, name) for task in tasks]
        role = next(row["role"] for row in rows if row)
        cells = "".join(_cell(task, row) for task, row in zip(tasks, rows, strict=True))
        kind = "" if role == "encoder" else ' class="baseline"'
        lines.append(f"<tr{kind}><th>{escape(label(name, role))}</th>{cells}</tr>")
    return (
        f'<div class="wide"><table class="glance"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def task_scores(task: Task, extra: str = "") -> str:
    """Write a task: what it is of, a table of bars for each probe, and `extra` HTML below."""
    items, groups = task["items"], task["groups"]
    facts = (
        f"{metric_label(task['metric'])}, {len(task['classes'])} classes; {items['train']} items "
        f"to learn from, {items['valid']} to choose on, {items['test']} to score"
    )
    if groups["test"] != items["test"]:
        facts += f" in {groups['test']} groups"
    # Scores of earlier versions have no notes.
    notes = [task["note"]] if task.get("note") else []
    if items["test"] < FEW:
        notes.append(f"Only {items['test']} test items: read the intervals, not the digits.")
    if means := {row["encoder"]: row["seeds"] for row in task["rows"] if "seeds" in row}:
        listed = ", ".join(f"{name} of {count} seeds" for name, count in means.items())
        notes.append(f"Means: {listed}; small marks are the seeds.")
    if task["left_out"]:
        notes.append(
            f"Left out, because a split has none or nothing else: {', '.join(task['left_out'])}."
        )
    probes = list(dict.fromkeys(r["probe"] for r in task["rows"] if r["probe"] != "none"))
    tables = "".join(bars(task, probe) for probe in probes)
    return (
        f"<article><h3>{escape(task['name'])}</h3>{paragraph(facts, 'meta')}"
        + "".join(paragraph(note, "note") for note in notes)
        + f'<div class="grid">{tables}</div>{extra}{_details(task)}</article>'
    )


def bars(task: Task, probe: str) -> str:
    """Write the rows of one probe, with those that need none."""
    metric = task["metric"]
    rows = [row for row in ordered(task["rows"]) if row["probe"] in (probe, "none")]
    # One axis for all probes of a task.
    most = _ceiling(max(row["scores"][metric].get("high") or 0 for row in task["rows"]))
    guess = next(r["scores"][metric]["score"] for r in rows if r["role"] == "chance")
    body = "".join(
        _bar(row, metric, most, guess, _seeds(task, row)) for row in rows if row["role"] != "chance"
    )
    ticks = "".join(
        f'<span style="left:{_percent(tick, most)}">{tick:.2g}</span>' for tick in _ticks(most)
    )
    caption = f"{PROBES.get(probe, probe)} (chance {guess:.3f}, dashed)"
    return (
        f'<table class="scores"><caption>{escape(caption)}</caption><tbody>{body}'
        f'<tr class="axis" aria-hidden="true"><th></th><td><div class="track">{ticks}</div></td>'
        "<td></td></tr></tbody></table>"
    )


def ordered(rows: Sequence[Row]) -> list[Row]:
    """Put the rows of a task in the order of tables: encoders first, then baselines."""
    shown = [row for row in rows if row["role"] in ROLES]
    return sorted(shown, key=lambda row: ROLES.index(row["role"]))


def task_head(task: Task) -> str:
    """Head the column of a task by its name and its metric."""
    return f"<th>{escape(task['name'])}<br>{escape(metric_label(task['metric']))}</th>"


def label(name: str, role: str) -> str:
    """Say what a row is."""
    baselines = {"log-mel": "log-mel statistics", "majority": "most frequent class"}
    if role == "random":
        return name.replace("random", "random encoder", 1) if name.startswith("random") else name
    return baselines.get(role, name)


def _first(task: Task, name: str) -> Row | None:
    """Find a row under the first probe of a task."""
    return next((row for row in task["rows"] if row["encoder"] == name), None)


def _cell(task: Task, row: Row | None) -> str:
    if row is None:
        return "<td></td>"
    figure = row["scores"][task["metric"]]
    # Of the rows that the table shows: a single seed may be better than any mean.
    rivals = [_first(task, r["encoder"]) for r in ordered(task["rows"])]
    best = max(r["scores"][task["metric"]]["score"] for r in rivals if r)
    kind = ' class="best"' if figure["score"] == best else ""
    score = f"{figure['score']:.3f} <small>{_range(figure)}</small>"
    return f'<td{kind} data-column="{escape(task["name"])}"><span>{score}</span></td>'


def _bar(row: Row, metric: str, most: float, guess: float, seeds: Sequence[Row]) -> str:
    figure = row["scores"][metric]
    name = label(row["encoder"], row["role"])
    low, high = figure["low"], figure["high"]
    marks = (
        f'<i class="chance" style="left:{_percent(guess, most)}"></i>'
        f'<i class="bar" style="width:{_percent(figure["score"], most)}"></i>'
        f'<i class="interval" style="left:{_percent(low, most)};'
        f'width:{_percent(high - low, most)}"></i>'
        f'<i class="dot" style="left:{_percent(figure["score"], most)}"></i>'
    )
    marks += "".join(
        f'<i class="seed" style="left:{_percent(seed["scores"][metric]["score"], most)}"></i>'
        for seed in seeds
    )
    kind = "" if row["role"] == "encoder" else ' class="baseline"'
    return (
        f'<tr{kind}><th title="{escape(name)}">{escape(row["encoder"])}</th>'
        f'<td><div class="track">{marks}</div></td>'
        f'<td class="figure">{figure["score"]:.3f}<small>{_range(figure)}</small></td></tr>'
    )


def _seeds(task: Task, row: Row) -> list[Row]:
    """Find the seeds that a row is the mean of."""
    return [
        seed
        for seed in task["rows"]
        if seed["role"] == "seed"
        and seed["probe"] == row["probe"]
        and seed["encoder"].partition("#")[0] == row["encoder"]
    ]


def _details(task: Task) -> str:
    """List every metric of every row, and what was chosen."""
    metrics = list(task["rows"][0]["scores"])
    rows = [
        [
            label(row["encoder"], row["role"]),
            PROBES.get(row["probe"], "") if row["probe"] != "none" else "",
            *(_written(row["scores"][metric]) for metric in metrics),
            ", ".join(f"{key} {_short(value)}" for key, value in row.get("choice", {}).items()),
            ", ".join(f"{key} {value:.3f}" for key, value in row.get("validation", {}).items()),
        ]
        for first in ordered(task["rows"])
        for row in (first, *_seeds(task, first))
    ]
    labels = map(metric_label, metrics)
    columns = ["", "probe", *labels, "chosen on valid", "score on valid"]
    classes = ", ".join(
        f"{name} ({train}/{valid}/{test})"
        for name, train, valid, test in zip(
            task["classes"], *(task["positives"][s] for s in ("train", "valid", "test")),
            strict=True,
        )
    )  # fmt: skip
    return (
        f"<details><summary>All figures of {escape(task['name'])}</summary>"
        f"{table(columns, rows)}"
        f"{paragraph(f'Classes (items to learn from, choose on, score): {classes}.', 'note')}"
        "</details>"
    )


def _written(figure: Mapping[str, float]) -> str:
    text = f"{figure['score']:.3f} {_range(figure)}".strip()
    if "deviation" in figure:
        text += f" (deviation over seeds {figure['deviation']:.3f})"
    return text


def _range(figure: Mapping[str, float]) -> str:
    if figure.get("low") is None or figure["low"] == figure["high"]:
        return ""
    return f"{figure['low']:.3f} to {figure['high']:.3f}"


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _percent(value: float, most: float) -> str:
    return f"{100 * min(max(value, 0.0) / most, 1.0):.2f}%"


def _ceiling(value: float) -> float:
    """Round up to a tenth, so that axes end at a tick."""
    return min(1.0, max(0.1, math.ceil(value * 10 - 1e-9) / 10))


def _ticks(most: float) -> list[float]:
    return [0.0, most / 2, most]
