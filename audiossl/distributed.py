"""The only file that says `torch.distributed`: every function is valid in one process too.

Convention for losses: each rank averages over its own anchors, gradients are averaged over ranks
(as DistributedDataParallel does), and `gather` and `total` carry gradients back to the rank a value
came from. One process and several then have the same loss and the same gradients.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

_PART: ContextVar[tuple[int, int]] = ContextVar("part", default=(0, 1))


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes that work together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this process writes what is written once."""
    return rank() == 0


@contextmanager
def processes(device: str = "auto") -> Iterator[torch.device]:
    """Join the group that `torchrun` started, if it did, and yield the device of this process.

    Args:
        device: "auto" (the accelerator if there is one), "cpu", "cuda", or a device like "cuda:1".
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = torch.device(device)
    if chosen == torch.device("cuda"):
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    mine = "WORLD_SIZE" in os.environ and not dist.is_initialized()
    if mine:
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield chosen
    finally:
        if mine:
            dist.destroy_process_group()


def barrier() -> None:
    """Wait until every rank is here."""
    if world_size() > 1:
        dist.barrier()


def gather(values: Shaped[Tensor, "batch *dims"]) -> Shaped[Tensor, "whole *dims"]:
    """Concatenate every rank's `values` in rank order; gradients flow back to each rank's part.

    All ranks must bring the same number of rows: plans split a batch evenly.
    """
    return values if world_size() == 1 else _Gather.apply(values)


def own_rows(values: Shaped[Tensor, "whole *dims"]) -> Shaped[Tensor, "batch *dims"]:
    """Keep this rank's share of rows that every rank has drawn alike for the whole batch."""
    return values.chunk(world_size())[rank()]


@contextmanager
def part(index: int, parts: int) -> Iterator[None]:
    """Say that one of the equal parts of this rank's rows is at hand, for `draw_rows`."""
    token = _PART.set((index, parts))
    try:
        yield
    finally:
        _PART.reset(token)


def draw_rows(
    rows: int, draw: Callable[[int], Shaped[Tensor, "whole *dims"]]
) -> Shaped[Tensor, "rows *dims"]:
    """Let `draw` make the rows of a whole batch, of all ranks and parts, and keep those at hand.

    One process and several, and a batch whole or in parts, then see the same chance, if `draw`
    takes it from a generator that all of them have seeded alike.
    """
    index, parts = _PART.get()
    whole = draw(rows * parts * world_size())
    return whole.chunk(parts * world_size())[rank() * parts + index]


def total(values: Shaped[Tensor, "*dims"]) -> Shaped[Tensor, "*dims"]:
    """Add up `values` over ranks; the gradient is added up likewise."""
    return values if world_size() == 1 else _Total.apply(values)


def mean(values: Shaped[Tensor, "*dims"]) -> Shaped[Tensor, "*dims"]:
    """Average `values` over ranks, for logs: without gradient."""
    if world_size() == 1:
        return values.detach()
    values = values.detach().clone()
    dist.all_reduce(values)
    return values / world_size()


def share(values: Shaped[Tensor, "*dims"]) -> Shaped[Tensor, "*dims"]:
    """Give every rank the first rank's `values`, in place."""
    if world_size() > 1:
        dist.broadcast(values, src=0)
    return values


def agree(value: Any) -> Any:
    """Give every rank the first rank's `value`, which may be any picklable object."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def any_rank(flag: bool) -> bool:
    """Whether `flag` is true on at least one rank, so that all of them act together."""
    if world_size() == 1:
        return flag
    device = torch.device("cuda") if dist.get_backend() == "nccl" else torch.device("cpu")
    count = torch.tensor(float(flag), device=device)
    dist.all_reduce(count)
    return bool(count.item() > 0)


def all_ranks(flag: bool) -> bool:
    """Whether `flag` is true on every rank."""
    return not any_rank(not flag)


@contextmanager
def synchronized(model: nn.Module, wanted: bool) -> Iterator[None]:
    """Average gradients over ranks in a backward pass, or leave that to a later one."""
    if wanted or not isinstance(model, DistributedDataParallel):
        yield
    else:
        with model.no_sync():
            yield


def parallel(module: nn.Module, device: torch.device) -> nn.Module:
    """Average the gradients of `module` over ranks in its backward pass."""
    if world_size() == 1 or not any(p.requires_grad for p in module.parameters()):
        return module
    # Buffers are kept equal by the modules that own them (batch norm, codebooks), whose statistics
    # are those of the whole batch: broadcasting them each step would only hide a mistake.
    ids = [device.index] if device.type == "cuda" else None
    return DistributedDataParallel(module, device_ids=ids, broadcast_buffers=False)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        parts = [torch.empty_like(values) for _ in range(world_size())]
        dist.all_gather(parts, values.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return gradient.chunk(world_size())[rank()]


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        values = values.clone()
        dist.all_reduce(values)
        return values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        dist.all_reduce(gradient)
        return gradient
