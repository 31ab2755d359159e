"""Paired differences between encoders as figures: an interval beside zero, and what it says."""

from collections.abc import Sequence
from html import escape

from audiossl.probing.results import Difference, TaskResults
from audiossl.reports.scores import PROBES, label, task_head


def overview_of_differences(tasks: Sequence[TaskResults]) -> str:
    """Write pairs of encoders against tasks, under the first probe."""
    pairs = dict.fromkeys(_pair(row) for task in tasks for row in _first_probe(task))
    if not pairs:
        return ""
    head = "".join(task_head(task) for task in tasks)
    lines = []
    for pair in pairs:
        rows = [next((r for r in _first_probe(t) if _pair(r) == pair), None) for t in tasks]
        cells = "".join(_cell(task, row) for task, row in zip(tasks, rows, strict=True))
        lines.append(f"<tr><th>{_said(*pair)}</th>{cells}</tr>")
    return (
        f'<div class="wide"><table class="glance"><thead><tr><th>difference</th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def task_differences(task: TaskResults) -> str:
    """Draw the differences of a task, a figure a probe, on one axis."""
    rows = task.differences
    if not rows:
        return ""
    scores = [row.difference for row in rows]
    ends = [abs(end or 0.0) for score in scores for end in (score.low, score.high, score.score)]
    most = max(0.05, 1.05 * max(ends))
    probes = dict.fromkeys(row.probe for row in rows)
    figures = "".join(_forest([r for r in rows if r.probe == p], p, most) for p in probes)
    return f'<div class="grid">{figures}</div>'


def signed(row: Difference) -> tuple[str, str]:
    """Write a difference and its interval."""
    score = row.difference
    has_ends = score.low is not None and score.high is not None
    interval = f"{score.low:+.3f} to {score.high:+.3f}" if has_ends else ""
    return f"{score.value:+.3f}", interval


def _forest(rows: Sequence[Difference], probe: str, most: float) -> str:
    body = "".join(_line(row, most) for row in rows)
    ticks = "".join(
        f'<span style="left:{_place(tick, most)}">{_tick(tick)}</span>'
        for tick in (-most / 1.05, 0.0, most / 1.05)
    )
    caption = f"Differences, {PROBES.get(probe, probe).lower()}"
    return (
        f'<table class="scores differences"><caption>{escape(caption)}</caption><tbody>{body}'
        f'<tr class="axis" aria-hidden="true"><th></th><td><div class="track">{ticks}</div></td>'
        "<td></td></tr></tbody></table>"
    )


def _line(row: Difference, most: float) -> str:
    value = row.difference.value
    low, high = row.difference.ends or (value, value)
    width = 100 * (high - low) / (2 * most)
    marks = (
        f'<i class="chance" style="left:50%"></i><i class="interval" '
        f'style="left:{_place(low, most)};width:{width:.2f}%"></i>'
        f'<i class="dot" style="left:{_place(value, most)}"></i>'
    )
    return (
        f'<tr class="{row.verdict}"><th>{_said(*_pair(row))}</th>'
        f'<td><div class="track">{marks}</div></td><td class="figure">{_figure(row)}</td></tr>'
    )


def _cell(task: TaskResults, row: Difference | None) -> str:
    if row is None:
        return "<td></td>"
    return f'<td data-column="{escape(task.name)}"><span>{_figure(row)}</span></td>'


def _figure(row: Difference) -> str:
    score, interval = signed(row)
    return f'<span class="{row.verdict}">{score}</span> <small>{interval}</small>'


def _said(encoder: str, reference: str) -> str:
    other = label(reference, reference if reference == "log-mel" else "random")
    return f"{escape(encoder)} <small>over {escape(other)}</small>"


def _pair(row: Difference) -> tuple[str, str]:
    return row.encoder, row.reference


def _first_probe(task: TaskResults) -> list[Difference]:
    rows = task.differences
    return [row for row in rows if row.probe == rows[0].probe]


def _tick(value: float) -> str:
    return f"{value:+.2g}" if value else "0"


def _place(value: float, most: float) -> str:
    return f"{50 + 50 * value / most:.2f}%"
