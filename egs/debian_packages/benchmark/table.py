"""One table of the benchmark: `python -m egs.debian_packages.benchmark.table <fitted> ...`.

Scores of every encoder, then the paired differences of the first one to each other with their
intervals, both as Markdown.
"""

import sys
from pathlib import Path
from typing import Any

from audiossl.atomic_files import read_json

PROBE = "linear"
FIXED = ("majority", "chance", "seed")
"""Roles of rows that are no encoder of their own."""


def main(folders: list[Path]) -> None:
    """Write the tables to standard output."""
    tasks = [task for folder in folders for task in read_json(folder / "scores.json")["tasks"]]
    first, *others = _encoders(tasks[0])
    lines = [_row(["task", "items", first, *others]), _row(["---"] * (len(others) + 3))]
    for task in tasks:
        scores = [f"{_score(task, name):.3f}" for name in (first, *others)]
        lines.append(_row([task["name"], str(task["items"]["test"]), *scores]))
    lines += ["", _row([f"{first} minus", *others]), _row(["---"] * (len(others) + 1))]
    for task in tasks:
        lines.append(_row([task["name"], *(_difference(task, first, o) for o in others)]))
    sys.stdout.write("\n".join(lines) + "\n")


def _encoders(task: dict[str, Any]) -> list[str]:
    rows = [row for row in task["rows"] if row["probe"] == PROBE and row["role"] not in FIXED]
    return [row["encoder"] for row in rows]


def _score(task: dict[str, Any], encoder: str) -> float:
    metric = task["metric"]
    for row in task["rows"]:
        if (row["encoder"], row["probe"]) == (encoder, PROBE) and row["role"] != "seed":
            return float(row["scores"][metric]["score"])
    raise KeyError(encoder)


def _difference(task: dict[str, Any], first: str, other: str) -> str:
    """Write first minus other; bold where the interval leaves out zero."""
    for row in task["differences"]:
        if row["probe"] != PROBE or {row["encoder"], row["reference"]} != {first, other}:
            continue
        difference, sign = row["difference"], 1 if row["encoder"] == first else -1
        score, low, high = (
            difference["score"],
            *sorted(sign * difference[end] for end in ("low", "high")),
        )
        text = f"{sign * score:+.3f} [{low:+.3f}, {high:+.3f}]"
        return f"**{text}**" if low > 0 or high < 0 else text
    raise KeyError(other)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main([Path(word) for word in sys.argv[1:]])
