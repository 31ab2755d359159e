"""Run the counting stage on a Ray cluster of two nodes here, and kill what it is told to."""

import argparse
import os
import signal
import threading
import time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from recipes.stage import Resources, run
from tests.recipes.counting import Config, count


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("numbers", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--kill-actor", type=int, default=-1)
    parser.add_argument("--kill-driver", type=int, default=0, help="after so many files")
    parser.add_argument("--seconds", type=float, default=0.0)
    asked = parser.parse_args()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    if asked.kill_driver:
        threading.Thread(target=_kill_after, args=(asked.output, asked.kill_driver)).start()
    config = Config(
        numbers=asked.numbers,
        output=asked.output,
        kill_at=asked.kill_actor,
        seconds=asked.seconds,
        resources=Resources(engine="ray", workers=2, device="cpu"),
    )
    run(config, count, "counting")
    ray.shutdown()
    cluster.shutdown()


def _kill_after(output: Path, count: int) -> None:
    while len(list(output.glob("?.txt"))) < count:
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
