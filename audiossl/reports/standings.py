"""Encoders ranked over all tasks, beside what each of them cost: one table a probe."""

from collections.abc import Mapping, Sequence

from audiossl.probing.predictions import seedless
from audiossl.probing.results import EncoderFacts, Results, Score, StandingRow, TaskResults
from audiossl.reports.facts import Record, spent
from audiossl.reports.page import paragraph, table
from audiossl.reports.scores import PROBES, label


def standings_section(results: Results, records: Mapping[str, Record]) -> str:
    """Write the tables as HTML; nothing where there are too few encoders or tasks."""
    tables = ""
    for probe, rows in results.standings.items():
        head, lines = standings_table(rows, results.encoders, records)
        tables += f"<h3>{PROBES.get(probe, probe)}</h3>{table(head, lines)}"
    return paragraph(standings_note(results.tasks), "note") + tables if tables else ""


def standings_note(tasks: Sequence[TaskResults]) -> str:
    """Say what the numbers of the table are."""
    families: dict[str, list[str]] = {}
    for task in tasks:
        families.setdefault(task.family or task.name, []).append(task.name)
    members = "; ".join(f"{name}: {', '.join(names)}" for name, names in families.items())
    return (
        "Distance from the median of all rows in robust standard deviations, averaged over the "
        f"tasks of a family, then over families ({members}), with its bootstrap range. Another row "
        "would change all of them. Audio and time are those of the run that is named in the "
        "report, seconds of one process; blank where it was not trained here."
    )


def standings_table(
    rows: Sequence[StandingRow],
    encoders: Mapping[str, EncoderFacts],
    records: Mapping[str, Record],
) -> tuple[list[str], list[list[str]]]:
    """Give the head and the lines of a table, the best encoder first.

    Args:
        rows: Of one probe.
        encoders: Facts by name, of each seed.
        records: Of stages, those of pretraining by the name of the encoder.
    """
    families = list(rows[0].families)
    head = ["", "all families", *families, "mean rank", "parameters", "audio", "training"]
    sizes = {seedless(name): facts.parameters for name, facts in encoders.items()}
    return head, [
        [
            label(row.encoder, row.role),
            _ranged(row.overall),
            *(_signed(row.families[name]) for name in families),
            f"{row.mean_rank:.1f}",
            _millions(sizes.get(row.encoder)),
            *_cost(records.get(row.encoder)),
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


def _ranged(score: Score) -> str:
    if score.score is None:
        return ""
    return f"{_signed(score.score)} [{_signed(score.low)}, {_signed(score.high)}]"


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.2f}"


def _millions(count: int | None) -> str:
    return f"{count / 1e6:.2f} M" if count else ""
