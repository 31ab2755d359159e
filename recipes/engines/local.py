"""Tasks in this process, or in a few beside it."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from typing import Any

import torch

from audiossl.errors import UserError
from audiossl.memory import keep_freed_memory
from audiossl.preemption import Preempted, safe_point

RESTARTS = 3
"""How often processes that were killed are started again before the stage gives up."""
_LOOK_UP = 0.5
"""Seconds between looks at whether the run was asked to stop."""


def run_local(
    tasks: Sequence[Any], make: Callable[[], Callable[[Any], Any]], workers: int
) -> Iterator[Any]:
    """Yield each task's result as it is done, in any order.

    Args:
        tasks: Picklable descriptions of work.
        make: Builds, in the process that will work, the function that does a task.
        workers: Number of processes; 0 works in this one.

    Raises:
        UserError: Processes were killed again and again (out of memory, most likely).
    """
    if workers == 0:
        if tasks:
            yield from map(_stopping(make()), tasks)
        return
    left = dict(enumerate(tasks))
    for _ in range(1 + RESTARTS):
        try:
            for index, result in _pooled(left, make, workers):
                del left[index]
                yield result
        except BrokenProcessPool:
            # Who ends a run by its group of processes ends these, too.
            safe_point()
            continue
        return
    raise UserError(
        f"worker processes were killed {1 + RESTARTS} times (out of memory?) with {len(left)} "
        "tasks left: run the same command again with fewer --resources.workers"
    )


def _pooled(
    tasks: dict[int, Any], make: Callable[[], Callable[[Any], Any]], workers: int
) -> Iterator[tuple[int, Any]]:
    # Threads of torch and of audio libraries do not survive a fork.
    context = multiprocessing.get_context("spawn")
    threads = max(1, torch.get_num_threads() // workers)
    with ProcessPoolExecutor(workers, context, _prepare, (make, threads)) as pool:
        futures = {pool.submit(_work, task): index for index, task in list(tasks.items())}
        try:
            for future in _as_completed(futures):
                yield futures[future], future.result()
        except Preempted:
            # What they are at work on is done again: the receipt comes last.
            for process in multiprocessing.active_children():
                process.kill()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _as_completed(futures: Iterable[Future[Any]]) -> Iterator[Future[Any]]:
    """Yield futures as they are done, and look up now and then."""
    waiting = set(futures)
    while waiting:
        done, waiting = wait(waiting, timeout=_LOOK_UP, return_when=FIRST_COMPLETED)
        yield from done
        safe_point()


def _stopping(work: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Stop before a task rather than in it."""

    def perform(task: Any) -> Any:
        safe_point()
        return work(task)

    return perform


_worker: Callable[[Any], Any]


def _prepare(make: Callable[[], Callable[[Any], Any]], threads: int) -> None:
    global _worker
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Ctrl-C reaches the whole group; the parent answers it, and ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    keep_freed_memory()
    _worker = make()


def _end_with_parent() -> None:
    # A pool's processes hold both ends of their queue, and would wait for a killed parent forever.
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def _work(task: Any) -> Any:
    return _worker(task)
