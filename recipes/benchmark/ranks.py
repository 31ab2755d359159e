"""Throughput of one and two processes at equal work: ranks of a training, workers, nodes of Ray.

    python -m recipes.benchmark.ranks --folder egs/mini/data --output exp/ranks

Every process has one thread. A training of COLA divides one batch among its ranks, which compute
the same gradients; an encoding of a corpus divides its shards among processes, or among actors on
nodes of a Ray cluster that is started here. Figures come from the logs; the time that processes
take to start is not in them.
"""

import argparse
import os
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

PAIRS, STEPS = 64, 60
TEACHER = "audiossl:small"
NODE_CPUS = 3
"""Processors of a node: its actor's, and two without which Ray's reading tasks never start."""
CLUSTER = """
import runpy, ray
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={{"num_cpus": {cpus}}})
for _ in range({nodes} - 1):
    cluster.add_node(num_cpus={cpus})
ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
try:
    runpy.run_module("recipes.spear.encode", run_name="__main__", alter_sys=True)
finally:
    ray.shutdown()
    cluster.shutdown()
"""


def main() -> int:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="folder of audio")
    parser.add_argument("--output", type=Path, required=True, help="folder for what is made")
    given = parser.parse_args()
    output = given.output.resolve()
    _prepare(given.folder.resolve(), output)
    print("| work | processes | seconds of audio a second | ratio |\n|---|--:|--:|--:|")
    for name, measure in (
        (f"training: COLA, {PAIRS} pairs a step", _trained),
        (f"encoding: {TEACHER}, local workers", _encoded),
        (f"encoding: {TEACHER}, Ray nodes", _encoded_by_ray),
    ):
        speeds = [measure(output, count) for count in (1, 2)]
        for count, speed in enumerate(speeds, 1):
            print(f"| {name} | {count} | {speed:.0f} | {speed / speeds[0]:.2f} |", flush=True)
    return 0


def _prepare(folder: Path, output: Path) -> None:
    """Make the corpus, in shards enough to divide, and a quantizer of the teacher's frames."""
    cuts = ["--cuts", str(output / "cuts")]
    _run(
        "recipes.prepare.folder", "--folder", str(folder), "--output", str(output / "cuts"),
        "--min_duration", "0.1", "--shard_size", "50",
    )  # fmt: skip
    _run(
        "recipes.spear.embed_sample", *cuts, "--teacher", TEACHER, "--num_frames", "10000",
        "--max_hours", "0.1", "--max_skipped", "0.1", "--output", str(output / "sample"),
    )  # fmt: skip
    quantizer = "{kind: direct_sum, num_codebooks: 4, phase_steps: [50, 50], batch_size: 256}"
    _run(
        "recipes.spear.train_quantizer", "--frames", str(output / "sample"),
        "--quantizer", quantizer, "--output", str(output / "quantizer"),
    )  # fmt: skip


def _trained(output: Path, ranks: int) -> float:
    """Train, and give the seconds of audio a second from the first third of the steps on."""
    run = output / f"ranks_{ranks}"
    launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks), "-m"]
    _run(
        *(launch if ranks > 1 else []), "recipes.cola.pretrain", "--cuts", str(output / "cuts"),
        "--encoder", "{kind: efficientnet, width: 0.5, depth: 0.5, level: rms}",
        "--batch_size", str(PAIRS), "--loop.steps", str(STEPS), "--loop.optimizer",
        "{kind: adamw, rate: 0.001, schedule: {kind: cosine, warmup_steps: 5}}",
        "--resources.log_every", str(STEPS // 3), "--resources.device", "cpu",
        "--output", str(run),
    )  # fmt: skip
    lines = re.findall(r"^(\S+ \S+) step=", (run / "log.txt").read_text(), re.MULTILINE)
    first, last = (datetime.strptime(lines[i], "%Y-%m-%d %H:%M:%S,%f") for i in (0, -1))
    return (STEPS - STEPS // 3) * PAIRS * 2 / (last - first).total_seconds()


def _encoded(output: Path, workers: int) -> float:
    target = output / f"workers_{workers}"
    _run("recipes.spear.encode", *_encoding(output, target), "--resources.workers", str(workers))
    return _speed(target)


def _encoded_by_ray(output: Path, nodes: int) -> float:
    target = output / f"nodes_{nodes}"
    words = [*_encoding(output, target), "--resources.engine", "ray"]
    program = CLUSTER.format(cpus=NODE_CPUS, nodes=nodes)
    _start("-c", program, *words, "--resources.workers", str(nodes))
    return _speed(target)


def _encoding(output: Path, target: Path) -> list[str]:
    return [
        "--cuts", str(output / "cuts"), "--teacher", TEACHER, "--field", "codes", "--quantizer",
        str(output / "quantizer"), "--max_skipped", "0.1", "--resources.device", "cpu",
        "--output", str(target),
    ]  # fmt: skip


def _speed(target: Path) -> float:
    """Read how many times real time a stage went."""
    found = re.findall(r", ([\d.]+) times real time;", (target / "log.txt").read_text())
    return float(found[-1])


def _run(*words: str) -> None:
    _start("-m", *words)


def _start(*words: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    done = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])


if __name__ == "__main__":
    raise SystemExit(main())
