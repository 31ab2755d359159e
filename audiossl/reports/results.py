"""The tables of a report as Markdown, for a RESULTS.md: scores, differences, commands."""

from collections.abc import Iterator, Mapping, Sequence

from audiossl.probing.metrics import metric_label
from audiossl.probing.results import Results, TaskResults
from audiossl.reports.differences import signed
from audiossl.reports.facts import Record, when_and_where
from audiossl.reports.scores import PROBES, label, ordered
from audiossl.reports.standings import standings_note, standings_table


def results_markdown(title: str, results: Results, records: Mapping[str, Record]) -> str:
    """Write scores and paired differences of every task and probe.

    Args:
        title: Heading.
        results: Of all tasks.
        records: The stages behind it.
    """
    bootstrap = results.bootstrap
    blocks = [
        f"## {title}",
        when_and_where(list(records.values())),
        f"Ranges hold {bootstrap.confidence:.0%} of {bootstrap.replicates} bootstrap draws "
        "of groups of test items and of seeds; differences are paired, and bold where their range "
        "leaves out zero.",
    ]
    for probe, rows in results.standings.items():
        blocks += [
            f"### All tasks, {PROBES.get(probe, probe).lower()}",
            standings_note(results.tasks),
        ]
        blocks.append(_table(*standings_table(rows, results.encoders, records)))
    for task in results.tasks:
        blocks += _task(task)
    commands = "\n".join(record["command"] for record in records.values())
    blocks.append(f"```sh\n{commands}\n```")
    return "\n\n".join(block for block in blocks if block) + "\n"


def _task(task: TaskResults) -> Iterator[str]:
    items, groups = task.items["test"], task.groups["test"]
    yield f"### {task.name}"
    yield (
        f"{metric_label(task.metric)} over {len(task.classes)} classes; {items} test items "
        f"in {groups} groups."
    )
    if task.note:
        yield task.note
    probes = task.probes
    names = list(dict.fromkeys((row.encoder, row.role) for row in ordered(task.rows)))
    rows = [
        [_named(task, name, role), *(_score(task, name, probe) for probe in probes)]
        for name, role in names
    ]
    yield _table(["", *(PROBES.get(probe, probe) for probe in probes)], rows)
    if task.differences:
        pairs = dict.fromkeys((row.encoder, row.reference) for row in task.differences)
        yield _table(
            ["difference", *(PROBES.get(probe, probe) for probe in probes)],
            [
                [f"{one} - {other}", *(_difference(task, one, other, p) for p in probes)]
                for one, other in pairs
            ],
        )


def _named(task: TaskResults, name: str, role: str) -> str:
    seeds = next((row.seeds for row in task.rows if row.encoder == name), 1)
    return label(name, role) + (f" ({seeds} seeds)" if seeds > 1 else "")


def _score(task: TaskResults, name: str, probe: str) -> str:
    row = task.row(name, probe)
    if row is None:
        return ""
    score = task.score(row)
    ends = " [{:.3f}, {:.3f}]".format(*score.ends) if score.ends else ""
    return f"{score.value:.3f}{ends}"


def _difference(task: TaskResults, one: str, other: str, probe: str) -> str:
    for row in task.differences:
        if (row.encoder, row.reference, row.probe) == (one, other, probe):
            score, interval = signed(row)
            text = f"{score} [{interval.replace(' to ', ', ')}]"
            return text if row.verdict == "undecided" else f"**{text}**"
    return ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
