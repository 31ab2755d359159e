"""Shard tasks: the unit of offline work, with a receipt that says it is done.

A task is a pure function that writes the files of one shard under temporary names, renames them,
and returns an `Outcome`; its receipt, `receipts/000012.json`, is written last. A receipt whose
input is the same and whose files are there is a task that is done, whatever happened meanwhile.

Engines only launch tasks, so that all of them give the same files. The stage's process prints a
plan after the first shard: what is left, how fast it goes, and what it will take on disk.
"""

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from audiossl import distributed
from audiossl.atomic_files import read_json, read_object, write_json
from audiossl.data.receipts import described, described_sources, is_whole
from audiossl.errors import UserError
from recipes.engines.local import run_local
from recipes.engines.ray import run_ray
from recipes.record import digest
from recipes.stage import Resources, Stage


@dataclass(frozen=True)
class Task:
    """One shard's work."""

    index: int
    """Number of the shard."""
    identity: str
    """Fingerprint of what the shard is made from."""
    payload: Any
    """Input of the worker; picklable and small: paths and offsets, never waveforms."""
    hours: float = 0.0
    """Hours of audio in it, where known, for the estimate of the remaining time."""
    sources: tuple[Path, ...] = ()
    """Audio files it is made from, where they may change while their names and sizes do not; the
    rest is weighed by their bytes where hours are not known."""


@dataclass(frozen=True)
class Outcome:
    """What became of a shard."""

    files: tuple[str, ...]
    """Files written, relative to the stage's output."""
    num_items: int
    """Items it had, those left out included."""
    hours: float
    """Hours of audio in it."""
    skipped: tuple[dict[str, str], ...] = ()
    """{"id": ..., "reason": ...} of items left out."""
    figures: dict[str, float] = field(default_factory=dict)
    """Other sums for the record."""


Worker = Callable[[Task], Outcome]
MakeWorker = Callable[[], Worker]
"""Builds a worker in the process that will use it; picklable. Models are loaded here, once."""


def run_shards(
    stage: Stage, tasks: Sequence[Task], make_worker: MakeWorker, resources: Resources
) -> dict[str, Any]:
    """Do the tasks that have no valid receipt; return sums over all.

    Under torchrun every rank does its share; workers are processes beside each of them.

    Raises:
        UserError: Too many items were left out, or the disk is or would be full.
    """
    mine = tasks[distributed.rank() :: distributed.world_size()]
    todo = [task for task in mine if not _is_done(task, stage.output, resources.verify)]
    if len(todo) < len(mine):
        stage.log.info("%d of %d shards are done already", len(mine) - len(todo), len(mine))
    make = partial(_recorder, make_worker, stage.output)
    _follow(stage, _launched(stage, todo, make, resources), todo, max(1, resources.workers))
    distributed.barrier()
    return _totals(stage, [read_json(_receipt(task, stage.output)) for task in tasks])


def _launched(
    stage: Stage,
    todo: Sequence[Task],
    make: Callable[[], Callable[[Task], dict[str, Any]]],
    resources: Resources,
) -> Iterator[dict[str, Any]]:
    """Hand the tasks to the engine that was asked for."""
    if resources.engine == "local":
        return run_local(todo, make, resources.workers)
    if distributed.world_size() > 1:
        raise UserError("engine ray spreads the work itself: start it without torchrun")
    gpus = 1.0 if stage.device.type == "cuda" else 0.0
    folder = stage.output / "ray"
    return run_ray(todo, make, actors=max(1, resources.workers), gpus=gpus, folder=folder)


def _recorder(make_worker: MakeWorker, output: Path) -> Callable[[Task], dict[str, Any]]:
    """Build a worker that leaves a receipt of each task."""
    work = make_worker()

    def record(task: Task) -> dict[str, Any]:
        started = time.monotonic()
        outcome = work(task)
        receipt = {
            "identity": task.identity,
            "files": {name: described(output / name) for name in outcome.files},
            "sources": described_sources(task.sources),
            "num_items": outcome.num_items,
            "hours": outcome.hours,
            "skipped": list(outcome.skipped),
            "figures": outcome.figures,
            "seconds": round(time.monotonic() - started, 3),
        }
        write_json(_receipt(task, output), receipt)
        return receipt

    return record


_RECEIPT: dict[str, Any] = {
    "identity": str, "files": dict, "num_items": int, "hours": (float, int), "skipped": list,
    "figures": dict, "seconds": (float, int),
}  # fmt: skip
"""What a receipt must hold."""


def _receipt(task: Task, output: Path) -> Path:
    return output / "receipts" / f"{task.index:06d}.json"


def _is_done(task: Task, output: Path, verify: bool) -> bool:
    """Whether a task has a receipt that holds; `verify` reads what it names, and its sources."""
    path = _receipt(task, output)
    if not path.exists():
        return False
    try:
        receipt = read_object(path, **_RECEIPT)
    except UserError:
        return False
    if receipt["identity"] != task.identity:
        return False
    if verify and not _is_made_of(receipt, task):
        return False
    return all(
        is_whole(output / name, entry, content=verify) for name, entry in receipt["files"].items()
    )


def _is_made_of(receipt: dict[str, Any], task: Task) -> bool:
    # Receipts of earlier versions do not say of what.
    return "sources" not in receipt or receipt["sources"] == described_sources(task.sources)


def _follow(
    stage: Stage, receipts: Iterator[dict[str, Any]], tasks: Sequence[Task], parallel: int
) -> None:
    """Show progress; after the first shard with audio in it, say what the rest will take."""
    started, hours, written, announced = time.monotonic(), 0.0, 0, False
    known, num_tasks = sum(task.hours for task in tasks), len(tasks)
    source_bytes = 0 if known else sum(map(_source_bytes, tasks))
    read = 0
    bar = tqdm(receipts, total=num_tasks, unit="shard", disable=not sys.stderr.isatty())
    for done, receipt in enumerate(bar, start=1):
        hours += receipt["hours"]
        written += sum(entry["size"] for entry in receipt["files"].values())
        seconds = time.monotonic() - started
        read += receipt["sources"]["bytes"]
        # Hours say it best, then bytes: shards may be of very different sizes.
        weights = ((known, hours), (source_bytes, read), (num_tasks, done))
        total, behind = next(pair for pair in weights if pair[0] and pair[1])
        left = (total - behind) / behind
        if not announced and receipt["hours"] and done < num_tasks:
            seconds_left = receipt["seconds"] * left / parallel
            _announce(stage, receipt, seconds_left, int(written * left), exact=bool(known))
            announced = True
        elif bar.disable and done % max(1, num_tasks // 10) == 0:
            stage.log.info(
                "%d of %d shards, %.2f h of audio, %s left",
                done, num_tasks, hours, _duration(seconds * left),
            )  # fmt: skip
    if num_tasks:
        seconds = time.monotonic() - started
        stage.log.info(
            "%.2f h of audio in %s, %.0f times real time; %s written",
            hours, _duration(seconds), 3600 * hours / max(seconds, 1e-9), _size(written),
        )  # fmt: skip


def _source_bytes(task: Task) -> int:
    return sum(path.stat().st_size for path in task.sources if path.is_file())


def _announce(
    stage: Stage, receipt: dict[str, Any], seconds: float, needed: int, *, exact: bool
) -> None:
    speed = 3600 * receipt["hours"] / max(receipt["seconds"], 1e-9)
    free = shutil.disk_usage(stage.output).free
    stage.log.info(
        "plan: %.1f times real time a worker on the first shard; about %s and %s to go (%s are "
        "free)", speed, _duration(seconds), _size(needed), _size(free),
    )  # fmt: skip
    if needed <= free:
        return
    lacking = (
        f"{stage.output}: about {_size(needed)} more are needed and {_size(free)} are free; free "
        "some space and run the same command again; what is finished is kept"
    )
    # Bytes of compressed audio say little of its hours: a disk that may do is not refused.
    if exact:
        raise UserError(lacking)
    stage.log.warning(lacking)


def _totals(stage: Stage, receipts: list[dict[str, Any]]) -> dict[str, Any]:
    totals: dict[str, Any] = {
        "shards": len(receipts),
        "items": sum(receipt["num_items"] for receipt in receipts),
        "hours": round(sum(receipt["hours"] for receipt in receipts), 6),
        "bytes": sum(e["size"] for receipt in receipts for e in receipt["files"].values()),
    }
    for receipt in receipts:
        for name, value in receipt["figures"].items():
            totals[name] = totals.get(name, 0) + value
    skips = [skip for receipt in receipts for skip in receipt["skipped"]]
    totals["skipped"] = stage.record_skips(skips, int(totals["items"]))
    # The content of every file, so that a stage made again from the same is the same input.
    checksums = [e["sha256"] for receipt in receipts for e in receipt["files"].values()]
    return {**totals, "content": digest(checksums)}


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _size(num_bytes: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if num_bytes < 1024:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:.1f} TiB"
