"""One try of a kind of bad input: what came of it, and whether that is right."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.trust.forks import Done, call, forked, last_line
from tests.trust.kinds import Case, Expected, Kind

LIMIT = 60.0
"""Seconds after which a try hangs."""


@dataclass(frozen=True)
class Try:
    """A kind, and what came of it."""

    kind: Kind
    done: Done
    outcome: str
    """refused, left out, read."""
    problem: str
    """What is wrong; empty if nothing is."""

    @property
    def line(self) -> str:
        """What it said last."""
        return last_line(self.done.err or self.done.out)


def attempt(kind: Kind, world: Path, scratch: Path, limit: float = LIMIT) -> Try:
    """Make the input, open the door, and judge."""
    folder = scratch / "case"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    program, words = kind.make(Case(folder, world))
    done = forked(call(program, words), timeout=limit, cwd=folder)
    outcome, problem = judged(done, folder, kind.expected)
    shutil.rmtree(folder, ignore_errors=True)
    return Try(kind, done, outcome, problem)


def judged(done: Done, folder: Path, expected: Expected) -> tuple[str, str]:
    """Say what came of a command, and what is wrong with that."""
    outcome = _outcome(done, folder)
    executed = any(path.name.startswith("executed") for path in folder.rglob("*"))
    return outcome, "executed" if executed else _problem(done, outcome, expected)


def _outcome(done: Done, folder: Path) -> str:
    if done.code == 2:
        return "refused"
    skipped = folder / "out" / "skipped.jsonl"
    if done.code == 3 or (skipped.exists() and skipped.read_text()) or "left out" in done.err:
        return "left out"
    return "read"


def _problem(done: Done, outcome: str, expected: Expected) -> str:
    if done.timed_out:
        return "hang"
    if not done.is_clean:
        return "traceback" if done.code in (1, 99) else f"exit code {done.code}"
    if done.code == 2 and len(done.err.strip().splitlines()) > 20:
        return "many lines"
    if expected not in ("clean", outcome):
        refused = expected == "left out" and outcome == "refused"
        return "" if refused else f"silently {outcome}, not {expected}"
    return ""
