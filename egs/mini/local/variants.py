"""Tables of the sounds of mini for experiments: with a shuffled category, and each sound twice.

    python egs/mini/local/variants.py egs/mini/data exp/all.csv exp

Writes exp/once.csv, exp/twice.csv and the folder exp/doubled that the latter is of.
"""

import csv
import random
import shutil
import sys
from pathlib import Path


def write(path: Path, rows: list[dict[str, str]]) -> None:
    """Write a table."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def main(audio: str, table: str, folder: str) -> None:
    """Write both tables, and copy the sounds twice."""
    with Path(table).open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["domain"] == "sounds"]
    shuffled = [row["category"] for row in rows]
    random.Random(0).shuffle(shuffled)
    rows = [row | {"shuffled": name} for row, name in zip(rows, shuffled, strict=True)]
    output = Path(folder)
    write(output / "once.csv", rows)
    copies = ("first", "second")
    write(output / "twice.csv", [r | {"path": f"{c}/{r['path']}"} for c in copies for r in rows])
    for copy in copies:
        shutil.copytree(
            Path(audio) / "sounds", output / "doubled" / copy / "sounds", dirs_exist_ok=True
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
