"""What it costs to contrast a batch in parts: time and memory of training steps of COLA.

    python -m recipes.benchmark.gradient_cache
    python -m recipes.benchmark.gradient_cache --cases 256x1 256x4 --seconds 0.5 --width 0.25

Each case, pairs x parts, is a process of its own, in each of a few rounds. The encoder is that of
egs/mini/cola, on a CPU. Without --cases there are two tables: of time, where a batch in parts is
compared with the same batch whole, and of memory, where a large batch in parts is compared with a
whole one of the size of a part. Memory is what steps add to the process (peak of resident memory
after them, less that before), the least of the rounds; time is the fastest step's, in seconds of
processor time, which busy neighbors change little.
"""

import argparse
import json
import logging
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from audiossl.batches import ViewBatch
from audiossl.data.plan import Plan, PlanConfig, Position
from audiossl.methods.cola import Cola, ColaConfig
from audiossl.models.efficientnet import EfficientNet, EfficientNetConfig
from audiossl.training.loop import LoopConfig, LoopResources, Place, train

RATE = 16_000


class Source:
    """One batch of noise."""

    def __init__(self, pairs: int, samples: int) -> None:
        self.plan = Plan(np.full(pairs, samples), RATE, PlanConfig(batch_size=pairs, num_buckets=1))
        crops = [0.01 * torch.randn(pairs, samples) for _ in range(2)]
        rows = torch.arange(pairs)
        self.batch = ViewBatch(crops[0], crops[1], rows >= 0, rows)

    def load(self, position: Position, rank: int = 0, world_size: int = 1) -> ViewBatch:  # noqa: ARG002
        """Give the batch."""
        return self.batch


class Timed(Cola):
    """COLA that notes the processor time after each update."""

    def after_update(self) -> None:
        """Note it."""
        super().after_update()
        self.times = [*getattr(self, "times", []), time.process_time()]


def measure(pairs: int, parts: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Train for some steps and measure them."""
    torch.manual_seed(0)
    source = Source(pairs, round(arguments.seconds * RATE))
    network = EfficientNetConfig(width=arguments.width, depth=0.5, input_scale=0.1, level="rms")
    method = Timed(EfficientNet(network), ColaConfig(similarity="cosine"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    config = LoopConfig(steps=arguments.steps, accumulate=parts)
    with tempfile.TemporaryDirectory() as folder:
        log = logging.getLogger("quiet")
        place = Place(Path(folder), torch.device("cpu"), LoopResources(), log)
        train(method, source, config, place)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = min(np.diff(method.times).tolist())
    return {"seconds": seconds, "mebibytes": (peak - before) / 1024}


def main() -> None:
    """Measure cases, and print a table of each kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", help="pairs x parts; the first is compared with")
    parser.add_argument("--steps", type=int, default=4, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a crop")
    parser.add_argument("--width", type=float, default=0.5, help="of the network")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        pairs, parts = map(int, arguments.case.split("x"))
        print(json.dumps(measure(pairs, parts, arguments)))
    elif arguments.cases:
        table(arguments.cases, sys.argv[1:], arguments.rounds)
    else:
        table(["64x1", "64x2", "64x4", "64x8"], sys.argv[1:], arguments.rounds)
        small = ["--seconds", "0.25", "--width", "0.1", "--steps", "2"]
        table(["512x1", "4096x8"], [*sys.argv[1:], *small], rounds=1)


def table(cases: Sequence[str], words: Sequence[str], rounds: int) -> None:
    """Measure cases in turn, a few rounds of all of them, and print what was found."""
    found: dict[str, list[dict[str, float]]] = {case: [] for case in cases}
    for case in [*cases] * rounds:
        command = [sys.executable, "-m", "recipes.benchmark.gradient_cache", *words, "--case", case]
        printed = subprocess.run(command, check=True, capture_output=True).stdout
        found[case].append(json.loads(printed))
    print("| pairs x parts | seconds a step | times the first | MiB | times the first |")
    print("|---|---|---|---|---|")
    least = {
        case: [min(one[name] for one in rows) for name in ("seconds", "mebibytes")]
        for case, rows in found.items()
    }
    for case, (seconds, mebibytes) in least.items():
        ratios = [value / first for value, first in zip(least[case], least[cases[0]], strict=True)]
        print(f"| {case} | {seconds:.2f} | {ratios[0]:.2f} | {mebibytes:.0f} | {ratios[1]:.2f} |")


if __name__ == "__main__":
    main()
