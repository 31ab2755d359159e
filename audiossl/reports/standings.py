"""Encoders ranked over all tasks, beside what each of them cost: one table a probe."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from audiossl.reports.facts import Record, spent
from audiossl.reports.page import paragraph, table
from audiossl.reports.scores import PROBES, label

Row = Mapping[str, Any]


def standings_section(scores: Mapping[str, Any], records: Mapping[str, Record]) -> str:
    """Write the tables as HTML; nothing where there are too few encoders or tasks."""
    found = scores.get("standings", {})
    tables = "".join(
        f"<h3>{PROBES.get(probe, probe)}</h3>{table(*standings_table(rows, scores, records))}"
        for probe, rows in found.items()
    )
    return paragraph(standings_note(scores), "note") + tables if tables else ""


def standings_note(scores: Mapping[str, Any]) -> str:
    """Say what the numbers of the table are."""
    families: dict[str, list[str]] = {}
    for task in scores["tasks"]:
        families.setdefault(task.get("family", task["name"]), []).append(task["name"])
    members = "; ".join(f"{name}: {', '.join(tasks)}" for name, tasks in families.items())
    return (
        "Distance from the median of all rows in robust standard deviations, averaged over the "
        f"tasks of a family, then over families ({members}), with its bootstrap range. Another row "
        "would change all of them. Audio and time are those of the run that is named in the "
        "report, seconds of one process; blank where it was not trained here."
    )


def standings_table(
    rows: Sequence[Row], scores: Mapping[str, Any], records: Mapping[str, Record]
) -> tuple[list[str], list[list[str]]]:
    """Give the head and the lines of a table, the best encoder first.

    Args:
        rows: Of one probe.
        scores: Content of scores.json.
        records: Of stages, those of pretraining by the name of the encoder.
    """
    families = list(rows[0]["families"])
    head = ["", "all families", *families, "mean rank", "parameters", "audio", "training"]
    sizes = {
        name.partition("#")[0]: facts.get("parameters")
        for name, facts in scores["encoders"].items()
    }
    return head, [
        [
            label(row["encoder"], row["role"]),
            _ranged(row["overall"]),
            *(_signed(row["families"][name]) for name in families),
            f"{row['mean_rank']:.1f}",
            _millions(sizes.get(row["encoder"])),
            *_cost(records.get(row["encoder"])),
        ]
        for row in rows
    ]


def _cost(record: Record | None) -> tuple[str, str]:
    record = record or {}
    results = record.get("results") or {}
    hours = results.get("hours_of_audio")
    seconds = record.get("seconds")
    if hours is None or seconds is None:
        return "", ""
    return f"{hours:.1f} h", spent(seconds / 3600)


def _ranged(interval: Mapping[str, float]) -> str:
    if interval["score"] is None or math.isnan(interval["score"]):
        return ""
    return f"{_signed(interval['score'])} [{_signed(interval['low'])}, {_signed(interval['high'])}]"


def _signed(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:+.2f}"


def _millions(count: int | None) -> str:
    return f"{count / 1e6:.2f} M" if count else ""
