"""Tasks on a Ray cluster: Ray Data with a pool of actors, one model each.

A row is a task's number; the task itself, paths and offsets, goes to the actors once, and what they
make goes straight to the shared file system: nothing large passes through Ray. An actor that dies
is replaced and its task done again. If the driver dies, receipts say what is left; Ray's own
checkpoint does the same for rows whose result had already been written.

Every machine must see this checkout, the inputs and the output at the same paths. A cluster is
joined by the address in RAY_ADDRESS; without one, Ray starts on this machine.
"""

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from audiossl.errors import UserError
from audiossl.installation import missing_package
from audiossl.memory import keep_freed_memory
from audiossl.preemption import safe_point

SPARE_CPUS = 2
"""Logical processors beyond those of the actors: with none, Ray's reading tasks never start and the
run hangs without a word."""


def run_ray(
    tasks: Sequence[Any],
    make: Callable[[], Callable[[Any], dict[str, Any]]],
    *,
    actors: int,
    gpus: float,
    folder: Path,
) -> Iterator[dict[str, Any]]:
    """Yield each task's result, a dict that JSON can hold, as it is done.

    Args:
        tasks: Picklable descriptions of work, with an `index` each.
        make: Builds, in an actor, the function that does a task.
        actors: Size of the pool.
        gpus: GPUs of each actor; 0 works on processors.
        folder: For Ray's checkpoint and rows, on a file system that all machines share.

    Raises:
        UserError: Ray is not installed, the cluster is too small, or a task failed on an actor.
    """
    if not tasks:
        return
    ray = _started(actors, gpus)
    rows = [{"id": task.index} for task in tasks]
    _forget_undone(folder / "checkpoint", {task.index for task in tasks})
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.checkpoint_config = ray.data.checkpoint.CheckpointConfig(
        id_column="id", checkpoint_path=str(folder / "checkpoint")
    )
    results = folder / "results"
    results.mkdir(parents=True, exist_ok=True)
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        _Actor,
        fn_constructor_kwargs={"tasks": {t.index: t for t in tasks}, "make": make, "out": results},
        batch_size=1,
        num_cpus=1,
        num_gpus=gpus or None,
        compute=ray.data.ActorPoolStrategy(size=actors),
    )
    try:
        yield from _as_they_come(lambda: dataset.write_parquet(str(folder / "rows")), results)
    finally:
        context.checkpoint_config = None
    shutil.rmtree(folder)


class _Actor:
    """Does tasks; its model is loaded when it starts."""

    def __init__(self, tasks: dict[int, Any], make: Callable[[], Any], out: Path) -> None:
        keep_freed_memory()
        self.tasks, self.work, self.out = tasks, make(), out

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        for index in batch["id"]:
            result = self.work(self.tasks[int(index)])
            temporary = self.out / f".{index}.{os.getpid()}"
            temporary.write_text(json.dumps(result))
            temporary.rename(self.out / f"{index}.json")
        return batch


def _as_they_come(execute: Callable[[], None], results: Path) -> Iterator[dict[str, Any]]:
    """Run Ray in a thread and yield the results that appear meanwhile."""
    failures: list[Exception] = []

    def run() -> None:
        try:
            execute()
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    seen: set[str] = set()
    while True:
        finished = not thread.is_alive()
        for path in sorted(results.glob("*.json")):
            if path.name not in seen:
                seen.add(path.name)
                yield json.loads(path.read_text())
        if finished:
            break
        safe_point()
        thread.join(timeout=0.5)
    if failures:
        raise _explained(failures[0])


def _started(actors: int, gpus: float) -> Any:
    """Join or start a cluster, and check that it has room."""
    try:
        import ray
        import ray.data.checkpoint
    except ImportError as error:
        raise UserError(missing_package("engine ray", "ray", "ray")) from error
    if not ray.is_initialized():
        address = os.environ.get("RAY_ADDRESS")
        local = {} if address else {"num_cpus": actors + SPARE_CPUS, "include_dashboard": False}
        paths = {"PYTHONPATH": os.environ.get("PYTHONPATH", str(Path.cwd()))}
        ray.init(
            address=address, log_to_driver=False, logging_level="error",
            runtime_env={"env_vars": paths}, **local,
        )  # fmt: skip
    have = ray.cluster_resources()
    if have.get("CPU", 0) <= actors or have.get("GPU", 0) < actors * gpus:
        raise UserError(
            f"engine ray: {actors} actors need more than {actors} processors and "
            f"{actors * gpus:.0f} GPUs, the cluster has {have.get('CPU', 0):.0f} and "
            f"{have.get('GPU', 0):.0f}: lower --resources.workers or add machines"
        )
    return ray


def _forget_undone(checkpoint: Path, undone: set[int]) -> None:
    """Drop Ray's checkpoint if it takes a task for done whose files are gone."""
    if not checkpoint.exists():
        return
    from pyarrow import dataset

    files = [str(path) for path in checkpoint.rglob("*.parquet")]
    done = dataset.dataset(files).to_table(columns=["id"])["id"].to_pylist() if files else []
    if undone & set(done):
        shutil.rmtree(checkpoint)


def _explained(error: Exception) -> Exception:
    """Find the mistake of a user inside what Ray wraps around it."""
    text = str(error)
    marker = "audiossl.errors.UserError: "
    if marker in text:
        return UserError(text.rsplit(marker, 1)[1].splitlines()[0])
    return error
