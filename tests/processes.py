"""A few processes that are joined by gloo, shared by all tests that need more than one rank."""

import multiprocessing as mp
import os
import socket
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist


class Processes:
    """Run module-level functions on every rank at once and collect what they return."""

    def __init__(self, size: int) -> None:
        context = mp.get_context("spawn")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.pipes = []
        self.workers = []
        for rank in range(size):
            here, there = context.Pipe()
            worker = context.Process(target=_serve, args=(there, rank, size, port), daemon=True)
            worker.start()
            self.pipes.append(here)
            self.workers.append(worker)

    def run(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Call `function(*arguments)` on every rank; an exception on one is raised here."""
        for pipe in self.pipes:
            pipe.send((function, arguments))
        results = []
        for rank, pipe in enumerate(self.pipes):
            assert pipe.poll(120), f"rank {rank} did not answer within 120 s"
            results.append(pipe.recv())
        for result in results:
            if isinstance(result, _Failure):
                raise RuntimeError(result.text)
        return results

    def __enter__(self) -> "Processes":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self.workers:
            worker.kill()
            worker.join()


class _Failure:
    def __init__(self, text: str) -> None:
        self.text = text


def _serve(pipe: Any, rank: int, size: int, port: int) -> None:
    os.environ.update(
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE=str(size)
    )
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    while True:
        function, arguments = pipe.recv()
        try:
            torch.manual_seed(0)
            pipe.send(function(*arguments))
        except Exception:
            pipe.send(_Failure(traceback.format_exc()))
