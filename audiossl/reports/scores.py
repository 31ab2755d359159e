"""Scores as tables that are figures: a bar, its interval and the number, baselines in every one."""

import math
from collections.abc import Sequence
from html import escape

from audiossl.probing.metrics import metric_label
from audiossl.probing.results import NO_PROBE, Row, Score, TaskResults
from audiossl.reports.page import paragraph, table

PROBES = {
    "linear": "Linear probe",
    "mlp": "MLP probe",
    "neighbors": "Nearest neighbors",
    "attentive": "Attentive probe",
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


def overview(tasks: Sequence[TaskResults]) -> str:
    """Write encoders against tasks, each by its own metric under the first probe."""
    names = list(dict.fromkeys(row.encoder for task in tasks for row in ordered(task.rows)))
    head = "".join(task_head(task) for task in tasks)
    lines = []
    for name in names:
        rows = [task.first(name) for task in tasks]
        role = next(row.role for row in rows if row)
        cells = "".join(_cell(task, row) for task, row in zip(tasks, rows, strict=True))
        kind = "" if role == "encoder" else ' class="baseline"'
        lines.append(f"<tr{kind}><th>{escape(label(name, role))}</th>{cells}</tr>")
    return (
        f'<div class="wide"><table class="glance"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def task_scores(task: TaskResults, extra: str = "") -> str:
    """Write a task: what it is of, a table of bars for each probe, and `extra` HTML below."""
    items, groups = task.items, task.groups
    facts = (
        f"{metric_label(task.metric)}, {len(task.classes)} classes; {items['train']} items "
        f"to learn from, {items['valid']} to choose on, {items['test']} to score"
    )
    if groups["test"] != items["test"]:
        facts += f" in {groups['test']} groups"
    tables = "".join(bars(task, probe) for probe in task.probes)
    return (
        f"<article><h3>{escape(task.name)}</h3>{paragraph(facts, 'meta')}"
        + "".join(paragraph(note, "note") for note in _notes(task))
        + f'<div class="grid">{tables}</div>{extra}{_details(task)}</article>'
    )


def bars(task: TaskResults, probe: str) -> str:
    """Write the rows of one probe, with those that need none."""
    rows = [row for row in ordered(task.rows) if row.probe in (probe, NO_PROBE)]
    # One axis for all probes of a task.
    most = _ceiling(max(task.score(row).high or 0.0 for row in task.rows))
    guess = next(task.score(row).value for row in rows if row.role == "chance")
    body = "".join(_bar(task, row, most, guess) for row in rows if row.role != "chance")
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
    shown = [row for row in rows if row.role in ROLES]
    return sorted(shown, key=lambda row: ROLES.index(row.role))


def task_head(task: TaskResults) -> str:
    """Head the column of a task by its name and its metric."""
    return f"<th>{escape(task.name)}<br>{escape(metric_label(task.metric))}</th>"


def label(name: str, role: str) -> str:
    """Say what a row is."""
    baselines = {"log-mel": "log-mel statistics", "majority": "most frequent class"}
    if role == "random":
        return name.replace("random", "random encoder", 1) if name.startswith("random") else name
    return baselines.get(role, name)


def _notes(task: TaskResults) -> list[str]:
    """List what a reader should know of a task before its scores."""
    notes = [task.note] if task.note else []
    if task.items["test"] < FEW:
        notes.append(f"Only {task.items['test']} test items: read the intervals, not the digits.")
    if means := {row.encoder: row.seeds for row in task.rows if row.seeds > 1}:
        listed = ", ".join(f"{name} of {count} seeds" for name, count in means.items())
        notes.append(f"Means: {listed}; small marks are the seeds.")
    if task.left_out:
        listed = ", ".join(task.left_out)
        notes.append(f"Left out, because a split has none or nothing else: {listed}.")
    return notes


def _cell(task: TaskResults, row: Row | None) -> str:
    if row is None:
        return "<td></td>"
    score = task.score(row)
    # Of the rows that the table shows: a single seed may be better than any mean.
    rivals = [task.first(other.encoder) for other in ordered(task.rows)]
    known = [task.score(other).score for other in rivals if other]
    best = max((value for value in known if value is not None), default=math.inf)
    kind = ' class="best"' if score.score == best else ""
    text = f"{score.value:.3f} <small>{_range(score)}</small>"
    return f'<td{kind} data-column="{escape(task.name)}"><span>{text}</span></td>'


def _bar(task: TaskResults, row: Row, most: float, guess: float) -> str:
    score = task.score(row)
    low, high = score.ends or (score.value, score.value)
    marks = (
        f'<i class="chance" style="left:{_percent(guess, most)}"></i>'
        f'<i class="bar" style="width:{_percent(score.value, most)}"></i>'
        f'<i class="interval" style="left:{_percent(low, most)};'
        f'width:{_percent(high - low, most)}"></i>'
        f'<i class="dot" style="left:{_percent(score.value, most)}"></i>'
    )
    marks += "".join(
        f'<i class="seed" style="left:{_percent(task.score(seed).value, most)}"></i>'
        for seed in task.seeds_of(row)
    )
    kind = "" if row.role == "encoder" else ' class="baseline"'
    name = label(row.encoder, row.role)
    return (
        f'<tr{kind}><th title="{escape(name)}">{escape(row.encoder)}</th>'
        f'<td><div class="track">{marks}</div></td>'
        f'<td class="figure">{score.value:.3f}<small>{_range(score)}</small></td></tr>'
    )


def _details(task: TaskResults) -> str:
    """List every metric of every row, and what was chosen."""
    metrics = list(task.rows[0].scores)
    rows = [
        [
            label(row.encoder, row.role),
            PROBES.get(row.probe, "") if row.probe != NO_PROBE else "",
            *(_written(row.scores[metric]) for metric in metrics),
            ", ".join(f"{key} {_short(value)}" for key, value in row.choice.items()),
            ", ".join(f"{key} {Score(value).value:.3f}" for key, value in row.validation.items()),
        ]
        for first in ordered(task.rows)
        for row in (first, *task.seeds_of(first))
    ]
    labels = map(metric_label, metrics)
    columns = ["", "probe", *labels, "chosen on valid", "score on valid"]
    counts = (task.positives[split] for split in ("train", "valid", "test"))
    classes = ", ".join(
        f"{name} ({train:g}/{valid:g}/{test:g})"
        for name, train, valid, test in zip(task.classes, *counts, strict=True)
    )
    return (
        f"<details><summary>All figures of {escape(task.name)}</summary>"
        f"{table(columns, rows)}"
        f"{paragraph(f'Classes (items to learn from, choose on, score): {classes}.', 'note')}"
        "</details>"
    )


def _written(score: Score) -> str:
    text = f"{score.value:.3f} {_range(score)}".strip()
    if score.deviation is not None:
        text += f" (deviation over seeds {score.deviation:.3f})"
    return text


def _range(score: Score) -> str:
    return "{:.3f} to {:.3f}".format(*score.ends) if score.ends else ""


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _percent(value: float, most: float) -> str:
    return f"{100 * min(max(value, 0.0) / most, 1.0):.2f}%"


def _ceiling(value: float) -> float:
    """Round up to a tenth, so that axes end at a tick."""
    return min(1.0, max(0.1, math.ceil(value * 10 - 1e-9) / 10))


def _ticks(most: float) -> list[float]:
    return [0.0, most / 2, most]
