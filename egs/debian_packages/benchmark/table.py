"""One table of the benchmark: `python -m egs.debian_packages.benchmark.table <fitted> ...`.

Scores of every encoder, then the paired differences of the first one to each other with their
intervals, both as Markdown.
"""

import sys
from pathlib import Path

from audiossl.probing.results import TaskResults, read_results

PROBE = "linear"
FIXED = ("majority", "chance", "seed")
"""Roles of rows that are no encoder of their own."""


def main(folders: list[Path]) -> None:
    """Write the tables to standard output."""
    tasks = [task for folder in folders for task in read_results(folder / "scores.json").tasks]
    first, *others = _encoders(tasks[0])
    lines = [_row(["task", "items", first, *others]), _row(["---"] * (len(others) + 3))]
    for task in tasks:
        scores = [f"{_score(task, name):.3f}" for name in (first, *others)]
        lines.append(_row([task.name, str(task.items["test"]), *scores]))
    lines += ["", _row([f"{first} minus", *others]), _row(["---"] * (len(others) + 1))]
    for task in tasks:
        lines.append(_row([task.name, *(_difference(task, first, o) for o in others)]))
    sys.stdout.write("\n".join(lines) + "\n")


def _encoders(task: TaskResults) -> list[str]:
    return [r.encoder for r in task.rows if r.probe == PROBE and r.role not in FIXED]


def _score(task: TaskResults, encoder: str) -> float:
    row = task.row(encoder, PROBE)
    assert row is not None, encoder
    return task.score(row).value


def _difference(task: TaskResults, first: str, other: str) -> str:
    """Write first minus other; bold where the interval leaves out zero."""
    for row in task.differences:
        if row.probe != PROBE or {row.encoder, row.reference} != {first, other}:
            continue
        sign = 1 if row.encoder == first else -1
        gain = sign * row.difference.value
        low, high = sorted(sign * end for end in row.difference.ends or (sign * gain,) * 2)
        text = f"{gain:+.3f} [{low:+.3f}, {high:+.3f}]"
        return f"**{text}**" if low > 0 or high < 0 else text
    raise KeyError(other)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main([Path(word) for word in sys.argv[1:]])
