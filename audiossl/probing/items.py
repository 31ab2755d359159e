"""Predictions as a table, a line a test item and run, for whoever analyses them elsewhere."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from audiossl.atomic_files import atomic_write
from audiossl.errors import UserError
from audiossl.probing.predictions import Predictions

Row = dict[str, str | int | float | bool]


def write_items(path: Path, predictions: Iterable[Predictions]) -> None:
    """Write the items of predictions, whole or not at all.

    Args:
        path: A .csv, or, where pyarrow is installed, a .parquet file.
        predictions: Of any tasks, probes and encoders.

    Raises:
        UserError: The file would be of another kind, or pyarrow is not there.
    """
    rows = [row for one in predictions for row in item_rows(one)]
    if path.suffix == ".parquet":
        _write_parquet(path, rows)
    elif path.suffix == ".csv":
        with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        raise UserError(f"{path}: items are written as .csv or .parquet")


def item_rows(predictions: Predictions) -> Iterator[Row]:
    """List the test items of every run: what they are, what is predicted, and how surely.

    Classes of an item are joined by "|"; `predicted` is the class with the highest score, and
    `score` that score. Of a number it stands there itself, of events how
    many there are and were found; none of them is correct.
    """
    classes = predictions.classes
    for number, run in enumerate(predictions.runs):
        best = run.argmax(axis=1)
        for item, name in enumerate(predictions.ids):
            targets = predictions.targets[item]
            target, said = _numbers(predictions.task.kind, targets, run[item])
            named = "|".join(c for c, has in zip(classes, targets, strict=True) if has)
            yield {
                "task": predictions.task.name,
                "probe": predictions.probe,
                "encoder": predictions.encoder,
                "run": number,
                "id": name,
                "group": str(predictions.groups[item]),
                "target": target or named,
                "predicted": said or classes[best[item]],
                "score": float(run[item, best[item]]),
                "correct": not target and bool(targets[best[item]]),
            }


def _numbers(kind: str, targets: np.ndarray, said: np.ndarray) -> tuple[str, str]:
    """Write what is no class: a number, or how many events there are; else nothing."""
    if kind == "number":
        return f"{targets[0]:g}", f"{said[0]:g}"
    return (f"{targets[2]:g} events", f"{said[3]:g} events") if kind == "events" else ("", "")


def _write_parquet(path: Path, rows: list[Row]) -> None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(
            f"{path}: parquet needs pyarrow: run pip install pyarrow, or write a .csv"
        ) from error
    with atomic_write(path) as temporary:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), temporary)
