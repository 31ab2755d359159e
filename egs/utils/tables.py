"""Tables of labels, written whole or not at all."""

import csv
import sys
from collections.abc import Iterable
from pathlib import Path


def write_table(path: Path, rows: Iterable[dict[str, str]], *, empty: str) -> None:
    """Write rows as CSV, with the columns of all; without rows exit with `empty`."""
    table = list(rows)
    if not table:
        sys.exit(empty)
    columns = list(dict.fromkeys(name for row in table for name in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(table)
    temporary.replace(path)
