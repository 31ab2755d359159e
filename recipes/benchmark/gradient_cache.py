"""What it costs to contrast a batch in parts: time and memory of training steps of COLA.

    python -m recipes.benchmark.gradient_cache
    python -m recipes.benchmark.gradient_cache --cases 4096x8 512x1 --seconds 0.25 --width 0.1

Each case, pairs x parts, is a process of its own. The encoder is that of egs/mini/cola, on a CPU.
Memory is what a step adds to the process (peak of resident memory after steps, less that before),
time the median of steps in seconds of processor time, which busy neighbors change little.
"""

import argparse
import json
import logging
import resource
import statistics
import subprocess
import sys
import tempfile
import time
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
    seconds = statistics.median(np.diff(method.times).tolist())
    return {"seconds": seconds, "mebibytes": (peak - before) / 1024}


def main() -> None:
    """Measure each case in a process of its own, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", default=["64x1", "64x8", "8x1"])
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a crop")
    parser.add_argument("--width", type=float, default=0.5, help="of the network")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        pairs, parts = map(int, arguments.case.split("x"))
        print(json.dumps(measure(pairs, parts, arguments)))
        return
    print("| pairs x parts | seconds a step | MiB |\n|---|---|---|")
    for case in arguments.cases:
        words = [*sys.argv[1:], "--case", case]
        command = [sys.executable, "-m", "recipes.benchmark.gradient_cache", *words]
        found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        print(f"| {case} | {found['seconds']:.2f} | {found['mebibytes']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
