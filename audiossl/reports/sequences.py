"""Scores of heads on frozen encoders: a page and a table in Markdown."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from audiossl.reports.page import Section, page, paragraph, table
from audiossl.reports.scores import label

Task = Mapping[str, Any]
NAMES = {
    "accuracy": "accuracy", "map": "mean AP", "wer": "WER", "cer": "CER", "per": "PER",
    "slot_f1": "slot F1", "slot_cer": "slot CER", "frame_accuracy": "frame accuracy",
    "event_f1": "event F1 (200 ms)", "segment_f1": "segment F1 (1 s)",
    "segment_error": "segment error rate", "psds1": "PSDS 1", "psds2": "PSDS 2", "der": "DER",
    "eer": "EER", "min_dcf": "minDCF (0.01)", "mtwv": "MTWV", "atwv": "ATWV",
    "mtwv_of_all": "MTWV of the whole benchmark",
}  # fmt: skip
"""Figures as tables call them."""
NOTE = (
    "Encoders are frozen; heads read a sum of all layers with learned weights. Learning rates and "
    "thresholds are chosen on validation cuts, test cuts are scored once. Ranges are of bootstrap "
    "draws of whole groups of test cuts and of seeds; mean AP and PSDS have none."
)


def sequence_page(
    tasks: Sequence[Task], note: str = NOTE, title: str = "Heads on frozen encoders"
) -> str:
    """Write a page: all tasks at a glance, then each with all of its figures.

    Args:
        tasks: What stages write into scores.json.
        note: How scores came about.
        title: Title of the page.
    """
    sections = [Section(task["name"], _task(task)) for task in tasks]
    return page(title, paragraph(note, "note"), sections)


def sequence_markdown(tasks: Sequence[Task], note: str = NOTE) -> str:
    """Write a table of each task, for a RESULTS.md."""
    blocks = [note]
    for task in tasks:
        columns, rows = _rows(task)
        lines = [columns, ["---"] * len(columns), *rows]
        blocks.append(f"### {task['name']}\n\n{_facts(task)}")
        blocks.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
        blocks += ["\n".join(f"* {line}" for line in _differences(task))]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _task(task: Task) -> str:
    columns, rows = _rows(task)
    return (
        paragraph(_facts(task), "meta")
        + table(columns, rows)
        + "".join(paragraph(line, "note") for line in _differences(task))
        + _layers(task)
    )


def _layers(task: Task) -> str:
    """Tabulate the shares of layers, or their scores where one of them was chosen."""
    chosen = "layer_scores" in task["rows"][0]
    what, column = ("Scores", "layer_scores") if chosen else ("Shares", "layer_weights")
    name = escape(task["name"])
    rows = [
        [row["encoder"], ", ".join(f"{number:.2f}" for number in row[column])]
        for row in task["rows"]
    ]
    return (
        f"<details><summary>{what} of layers in {name}, first to last</summary>"
        + table(["", what.lower()], rows)
        + "</details>"
    )


def _facts(task: Task) -> str:
    better = "less" if task["less_is_better"] else "more"
    metric = f"{NAMES[task['metric']]} ({better} is better)"
    if "facts" in task:
        return f"{metric}; {task['facts']}"
    cuts, classes = task["cuts"], " + ".join(map(str, task["classes"]))
    return (
        f"{metric}, {classes} classes; {cuts['train']} cuts to learn from, {cuts['valid']} to "
        f"choose on, {cuts['test']} to score"
    )


def _rows(task: Task) -> tuple[list[str], list[list[str]]]:
    figures = list(task["rows"][0]["scores"])
    figures.sort(key=lambda name: name != task["metric"])
    columns = ["", *(NAMES[name] for name in figures), "chosen on valid"]
    rows = [
        [
            label(row["encoder"], row["role"]),
            *(_figure(row, name) for name in figures),
            ", ".join(f"{name} {value:g}" for name, value in row["choice"].items()),
        ]
        for row in task["rows"]
    ]
    return columns, rows


def _figure(row: Mapping[str, Any], name: str) -> str:
    low, high = row["intervals"].get(name, (None, None))
    text = f"{row['scores'][name]:.3f}"
    return text if low is None or low == high else f"{text} [{low:.3f}, {high:.3f}]"


def _differences(task: Task) -> list[str]:
    return [
        f"{row['encoder']} - {row['reference']}: {row['difference']:+.3f} "
        f"[{row['low']:+.3f}, {row['high']:+.3f}]"
        for row in task["differences"]
    ]
