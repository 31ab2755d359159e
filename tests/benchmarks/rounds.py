"""Fair comparison on a shared machine: A B A B ..., and the median of the ratios of neighbors."""

import json
import os
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

SHORTEST = 0.01
"""Seconds of one measurement; what takes less is repeated within it."""
ROWS = "AUDIOSSL_BENCHMARK_ROWS"
"""Environment variable: the file that rows are added to, by whatever process."""
ROUNDS = "AUDIOSSL_BENCHMARK_ROUNDS"
"""Environment variable: rounds of every case, for a quick look."""
CLOCK = "AUDIOSSL_BENCHMARK_CLOCK"
"""Environment variable: process_time counts what this process and those it has started work,
however busy their neighbors."""


def compare(
    name: str,
    ours: Callable[[], object],
    peer: Callable[[], object],
    rounds: int = 9,
    *,
    goal: float = 1.0,
    floor: str = "",
    before: Callable[[], object] | None = None,
    itself: bool = False,
) -> float:
    """Print, record and return how many times faster `ours` is than `peer`; above 1 is a win.

    Args:
        name: What is done, and against whom.
        ours: Does it here.
        peer: Does it there.
        rounds: Pairs of measurements.
        goal: The ratio that is aimed at.
        floor: What bounds the ratio, where it stays below the goal.
        before: What must be over before each of them, and takes no part in the time; each is then
            done once a round.
        itself: Whether the peer is ours, too, at other work: a row of a table of its own.
    """
    rounds = int(os.environ.get(ROUNDS, rounds))
    # A first time of what takes long tells as well that it need not be repeated.
    first = min(_timed(ours), _timed(peer))
    repeats = 1
    if before is None and first < 10 * SHORTEST:
        repeats = max(1, round(SHORTEST / max(1e-6, min(_timed(ours), _timed(peer)))))
    ratios, seconds = [], []
    for _ in range(rounds):
        mine, theirs = (_timed(work, repeats, before) for work in (ours, peer))
        ratios.append(theirs / mine)
        seconds.append(mine)
    return record(name, ratios, seconds, goal=goal, floor=floor, itself=itself)


def record(
    name: str,
    ratios: list[float],
    seconds: list[float],
    *,
    goal: float,
    floor: str = "",
    itself: bool = False,
) -> float:
    """Print and record what rounds gave, and return the median of their ratios; see `compare`."""
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else 3 * ratios
    row = {
        "case": name,
        "ratio": round(middle, 3),
        "quartiles": [round(low, 3), round(high, 3)],
        "milliseconds": round(1e3 * statistics.median(seconds), 3),
        "rounds": len(ratios),
        "goal": goal,
        "floor": floor,
        "itself": itself,
    }
    print(json.dumps(row))
    if ROWS in os.environ:
        with Path(os.environ[ROWS]).open("a") as file:
            file.write(json.dumps(row) + "\n")
    return middle


def process_time() -> float:
    """Seconds of processor time of this process and of those it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _timed(
    work: Callable[[], object], repeats: int = 1, before: Callable[[], object] | None = None
) -> float:
    if before is not None:
        before()
    clock = process_time if CLOCK in os.environ else time.perf_counter
    started = clock()
    for _ in range(repeats):
        work()
    return (clock() - started) / repeats
