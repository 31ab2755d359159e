"""The stage `encode` as it is, with workers that can be told to be slow or to be killed."""

import argparse
import os
import signal
import threading
import time
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

from recipes.spear import encode as stage
from recipes.stage import Resources, run

make_real_worker = stage._worker


def make_worker(kill_at, seconds, config, device):
    work = make_real_worker(config, device)

    def fatal(task):
        killed = config.output / "killed"
        if task.index == kill_at and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(seconds)
        return work(task)

    return fatal


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("cuts", type=Path)
    parser.add_argument("quantizer", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--teacher", default="log_mel:20")
    parser.add_argument("--engine", default="local")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kill-worker", type=int, default=-1, help="that does this shard, once")
    parser.add_argument("--kill-driver", type=int, default=0, help="after so many shards")
    parser.add_argument("--seconds", type=float, default=0.0, help="a shard takes longer")
    asked = parser.parse_args()
    with _two_nodes() if asked.engine == "ray" else nullcontext():
        _encode(asked)


def _encode(asked: argparse.Namespace) -> None:
    if asked.kill_driver:
        threading.Thread(target=_kill_after, args=(asked.output, asked.kill_driver)).start()
    stage._worker = partial(make_worker, asked.kill_worker, asked.seconds)
    config = stage.Config(
        cuts=asked.cuts,
        quantizer=asked.quantizer,
        output=asked.output,
        teacher=asked.teacher,
        field="speech",
        resources=Resources(engine=asked.engine, workers=asked.workers, device="cpu"),
    )
    run(config, stage.encode, "recipes.spear.encode")


@contextmanager
def _two_nodes():
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()
    cluster.shutdown()


def _kill_after(output: Path, count: int) -> None:
    while len(list(output.glob("receipts/*.json"))) < count:
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    from tests.recipes.encoding import main as main_by_name

    # By its name, so that workers find what they are sent.
    main_by_name()
