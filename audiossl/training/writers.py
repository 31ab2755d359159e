"""Records of a run: metrics.jsonl first, TensorBoard second, a line and a bar for who watches."""

import json
import logging
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tqdm import tqdm

from audiossl import distributed
from audiossl.atomic_files import write_text
from audiossl.errors import UserError

METRICS = "metrics.jsonl"


class Records:
    """Where the figures of a run go; only the first rank writes."""

    def __init__(self, folder: Path, step: int, num_steps: int, log: logging.Logger) -> None:
        """Open the records of a run that stands at `step`: what was written beyond is dropped."""
        self.log, self.num_steps, self.writes = log, num_steps, distributed.is_first()
        self._board: Any = None
        if not self.writes:
            return
        self._path = folder / METRICS
        rows = [row for row in read_metrics(folder) if row["step"] <= step]
        write_text(self._path, "".join(json.dumps(row) + "\n" for row in rows))
        # Imported here: TensorBoard takes seconds to import.
        from torch.utils.tensorboard import SummaryWriter

        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        self._bar = tqdm(
            initial=step, total=num_steps, unit="step", disable=not sys.stderr.isatty()
        )

    def write(
        self, step: int, figures: dict[str, float], headlines: Collection[str] | None = None
    ) -> None:
        """Write figures of the steps up to `step`; the line has `headlines` only."""
        if not self.writes:
            return
        with self._path.open("a") as file:
            file.write(json.dumps({"step": step, **figures}) + "\n")
        for name, value in figures.items():
            self._board.add_scalar(name, value, step)
        shown = (
            figures if headlines is None else {n: v for n, v in figures.items() if n in headlines}
        )
        text = " ".join(f"{name}={value:.4g}" for name, value in shown.items())
        self._bar.set_postfix_str(text, refresh=False)
        if self._bar.disable:
            self.log.info("step=%d/%d %s", step, self.num_steps, text)

    def step(self) -> None:
        """Move the bar by one step."""
        if self.writes:
            self._bar.update()

    def close(self) -> None:
        """Finish the files."""
        if self.writes:
            self._bar.close()
            self._board.close()


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Read the figures of a run; a last line that was cut off by a crash is left out.

    Raises:
        UserError: A line is of something else.
    """
    path = folder / METRICS
    rows: list[dict[str, Any]] = []
    for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not _are_figures(row):
            raise UserError(f"{path}: damaged: line {len(rows) + 1} holds no step and figures")
        rows.append(row)
    return rows


def _are_figures(row: Any) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("step"), int):
        return False
    return all(isinstance(value, (int, float)) for value in row.values())
