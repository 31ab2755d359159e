"""Fair comparison on a shared machine: A B A B ..., and the median of the ratios of neighbors."""

import json
import statistics
import time
from collections.abc import Callable


def compare(
    name: str, ours: Callable[[], object], peer: Callable[[], object], rounds: int = 9
) -> float:
    """Print and return how many times faster `ours` is than `peer`; above 1 is a win."""
    ours(), peer()
    ratios, seconds = [], []
    for _ in range(rounds):
        mine, theirs = _timed(ours), _timed(peer)
        ratios.append(theirs / mine)
        seconds.append(mine)
    low, middle, high = statistics.quantiles(ratios, n=4)
    figures = {"ratio": middle, "quartiles": [low, high], "seconds": statistics.median(seconds)}
    print(json.dumps({"case": name, **{k: _short(v) for k, v in figures.items()}}))
    return middle


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _short(value: float | list[float]) -> float | list[float]:
    return [round(v, 3) for v in value] if isinstance(value, list) else round(value, 5)
