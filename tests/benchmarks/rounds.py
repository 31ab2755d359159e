"""Fair comparison on a shared machine: A B A B ..., and the median of the ratios of neighbors."""

import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

SHORTEST = 0.01
"""Seconds of one measurement; what takes less is repeated within it."""
ROWS = "AUDIOSSL_BENCHMARK_ROWS"
"""Environment variable: the file that rows are added to, by whatever process."""


def compare(
    name: str,
    ours: Callable[[], object],
    peer: Callable[[], object],
    rounds: int = 9,
    *,
    goal: float = 1.0,
    floor: str = "",
) -> float:
    """Print, record and return how many times faster `ours` is than `peer`; above 1 is a win.

    Args:
        name: What is done, and against whom.
        ours: Does it here.
        peer: Does it there.
        rounds: Pairs of measurements.
        goal: The ratio that is aimed at.
        floor: What bounds the ratio, where it stays below the goal.
    """
    ours(), peer()
    repeats = max(1, round(SHORTEST / min(_timed(ours), _timed(peer))))
    ratios, seconds = [], []
    for _ in range(rounds):
        mine, theirs = _timed(ours, repeats), _timed(peer, repeats)
        ratios.append(theirs / mine)
        seconds.append(mine)
    low, middle, high = statistics.quantiles(ratios, n=4)
    row = {
        "case": name,
        "ratio": round(middle, 3),
        "quartiles": [round(low, 3), round(high, 3)],
        "milliseconds": round(1e3 * statistics.median(seconds), 3),
        "rounds": rounds,
        "goal": goal,
        "floor": floor,
    }
    print(json.dumps(row))
    if ROWS in os.environ:
        with Path(os.environ[ROWS]).open("a") as file:
            file.write(json.dumps(row) + "\n")
    return middle


def _timed(work: Callable[[], object], repeats: int = 1) -> float:
    started = time.perf_counter()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - started) / repeats
