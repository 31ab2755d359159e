"""How a result came about: command, commit, hardware, hours, date, from the records of stages."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

Record = Mapping[str, Any]
"""The stage.json of a finished stage."""


def facts_table(records: Mapping[str, Record]) -> str:
    """List the stages behind a page, with the command that makes each again."""
    rows = "".join(_row(name, record) for name, record in records.items())
    return f'<table class="facts"><tbody>{rows}</tbody></table>' if rows else ""


def when_and_where(records: Sequence[Record]) -> str:
    """Say in a line when all of it was made, of which code, on what, and how long it took."""
    if not records:
        return ""
    dates = sorted(record["started"][:10] for record in records)
    commits = sorted({record["versions"]["commit"] for record in records})
    span = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    hours = sum(record.get("seconds", 0.0) for record in records) / 3600
    machines = dict.fromkeys(record["hardware"] for record in records if "hardware" in record)
    return "; ".join([span, f"commit {', '.join(commits)}", *machines, spent(hours)])


def spent(hours: float) -> str:
    """Say how long something took."""
    if hours < 1 / 60:
        return f"{hours * 3600:.0f} s"
    return f"{hours * 60:.0f} min" if hours < 2 else f"{hours:.1f} h"


def _row(name: str, record: Record) -> str:
    seconds = record.get("seconds")
    details = [
        record["started"].replace("T", " ").removesuffix("+00:00") + " UTC",
        "unfinished" if seconds is None else spent(seconds / 3600),
        f"commit {record['versions']['commit']}",
        f"torch {record['versions']['torch']}",
    ]
    if record.get("world_size", 1) > 1:
        details.append(f"{record['world_size']} processes")
    return (
        f"<tr><th>{escape(name)}</th><td><code>{escape(record['command'])}</code><br>"
        f'<span class="meta">{escape(", ".join(details))}</span></td></tr>'
    )
