"""A stage for tests: writes the square of each number in a file, a shard a number."""

import os
import signal
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from audiossl.atomic_files import write_text
from audiossl.errors import UserError
from recipes.shards import Outcome, Task, run_shards
from recipes.stage import Resources, Stage, main


@dataclass(frozen=True, kw_only=True)
class Nested:
    """Nested settings."""

    exponent: int = 2
    """Of the power."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Write powers."""

    numbers: Path
    """A file with a number a line."""
    output: Path
    """Where the powers go."""
    power: Nested = Nested()
    """Which power."""
    kill_at: int = -1
    """Kill the process that does this number, once."""
    seconds: float = 0.0
    """How long a number takes."""
    max_skipped: float = 0.2
    """Largest share of numbers left out."""
    resources: Resources = Resources()
    """Workers."""


def count(config: Config, stage: Stage) -> dict[str, Any]:
    """Write a file a number; what is no number is skipped."""
    lines = config.numbers.read_text().split()
    tasks = [Task(index, line, line) for index, line in enumerate(lines)]
    return run_shards(stage, tasks, partial(worker, config), config.resources)


def worker(config: Config):
    def work(task: Task) -> Outcome:
        killed = config.output / "killed"
        if task.index == config.kill_at and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(config.seconds)
        if task.payload == "error":
            raise UserError("number error: is none")
        if not task.payload.isdigit():
            skip = {"id": str(task.index), "reason": f"{task.payload!r} is no number"}
            return Outcome((), 1, 0.0, (skip,))
        name = f"{task.index}.txt"
        write_text(config.output / name, str(int(task.payload) ** config.power.exponent))
        return Outcome((name,), 1, 1.0, figures={"sum": float(task.payload)})

    return work


if __name__ == "__main__":
    main(Config, count, "tests.recipes.counting")
