"""The only file that says `torch.distributed`: every function is valid in one process too.

Convention for losses: each rank averages over its own anchors, gradients are averaged over ranks
(as DistributedDataParallel does), and `gather` and `total` carry gradients back to the rank a value
came from. One process and several then have the same loss and the same gradients.
"""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from audiossl.errors import UserError

_MICRO_BATCH: ContextVar[tuple[int, int]] = ContextVar("micro_batch", default=(0, 1))
_alone = False


@contextmanager
def alone() -> Iterator[None]:
    """Work as if there were no other ranks: for what one rank does while the others wait."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() and not _alone else 0


def world_size() -> int:
    """Number of processes that work together."""
    return dist.get_world_size() if dist.is_initialized() and not _alone else 1


def is_first() -> bool:
    """Whether this process writes what is written once."""
    return rank() == 0


def choose_device(name: str) -> torch.device:
    """Name a device; "auto" is the accelerator if there is one.

    Raises:
        UserError: There is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda", "mps"):
        raise UserError(f"device {name!r}: expected auto, cpu, cuda, cuda:1, ...")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device {name!r}: there are {torch.cuda.device_count()} GPUs here")
    return device


@contextmanager
def processes(device: str = "auto") -> Iterator[torch.device]:
    """Join the group that `torchrun` started, if it did, and yield the device of this process.

    Args:
        device: "auto" (the accelerator if there is one), "cpu", "cuda", or a device like "cuda:1".

    Raises:
        UserError: There is no such device.
    """
    chosen = choose_device(device)
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
def micro_batch(index: int, count: int) -> Iterator[None]:
    """Say which of `count` equal parts of this rank's rows is at hand, for `draw_rows`."""
    token = _MICRO_BATCH.set((index, count))
    try:
        yield
    finally:
        _MICRO_BATCH.reset(token)


def draw_rows(
    rows: int, draw: Callable[[int], Shaped[Tensor, "whole *dims"]]
) -> Shaped[Tensor, "rows *dims"]:
    """Let `draw` make the rows of a whole batch, of all ranks and micro-batches; keep one's own.

    The numbers are then the same for one process and several, for a batch whole or in
    micro-batches, if `draw` takes them from a generator that all of them have seeded alike.
    """
    index, count = _MICRO_BATCH.get()
    whole = draw(rows * count * world_size())
    return whole.chunk(count * world_size())[rank() * count + index]


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
    if _shards(model):
        sharded: Any = model
        sharded.set_requires_gradient_sync(wanted)
        yield
    elif wanted or not isinstance(model, DistributedDataParallel):
        yield
    else:
        with model.no_sync():
            yield


def parallel(module: nn.Module, device: torch.device) -> nn.Module:
    """Average the gradients of `module`, unless it is sharded, over ranks in its backward pass."""
    trained = any(p.requires_grad for p in module.parameters())
    if world_size() == 1 or not trained or _shards(module):
        return module
    # Buffers are kept equal by the modules that own them (batch norm, codebooks), whose statistics
    # are those of the whole batch: broadcasting them each step would only hide a mistake.
    ids = [device.index] if device.type == "cuda" else None
    return DistributedDataParallel(module, device_ids=ids, broadcast_buffers=False)


def shard(module: nn.Module, units: Iterable[nn.Module], device: torch.device) -> None:
    """Spread parameters, gradients and what is made of them over ranks, in place (FSDP2).

    Parameters are sharded along their first dimension, those of a unit are gathered while it runs,
    and the rest while `module` does. Scalars stay whole; their gradients are averaged by
    `average_whole`. Weights must be alike on all ranks.

    Args:
        module: What is trained, called through its forward.
        units: Modules in it that are called through theirs.
        device: Where to.
    """
    if world_size() == 1:
        module.to(device)
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    whole = {parameter for parameter in module.parameters() if parameter.dim() == 0}
    for parameter in whole:
        parameter.data = parameter.data.to(device)
    mesh = init_device_mesh(device.type, (world_size(),))
    for part in (*units, module):
        fully_shard(part, mesh=mesh, ignored_params=whole)


def is_sharded(tensor: Tensor) -> bool:
    """Whether this rank holds only its shard."""
    return hasattr(tensor, "to_local")


def local(tensor: Tensor) -> Tensor:
    """What this rank holds of a tensor, without gradient: all of it, or its shard."""
    held: Any = tensor.detach()
    here: Tensor = held.to_local() if is_sharded(tensor) else held
    return here


def sharded_like(shard: Tensor, tensor: Tensor) -> Tensor:
    """Say that `shard` is what this rank holds of a tensor sharded as `tensor` is."""
    from torch.distributed.tensor import DTensor

    if not isinstance(tensor, DTensor):
        return shard
    return DTensor.from_local(
        shard, tensor.device_mesh, tensor.placements, run_check=False, shape=tensor.shape,
        stride=tensor.stride(),
    )  # fmt: skip


def norm(tensors: Sequence[Tensor]) -> Tensor:
    """Compute the Euclidean norm of all elements of tensors, of which some may be sharded."""
    norms = torch._foreach_norm([local(tensor) for tensor in tensors])
    return norm_of_norms(torch.stack(norms), [is_sharded(tensor) for tensor in tensors])


def norm_of_norms(norms: Shaped[Tensor, " tensors"], sharded: Sequence[bool]) -> Tensor:
    """Compute the norm of tensors from those of what this rank holds of each."""
    if not any(sharded):
        return torch.linalg.vector_norm(norms)
    here = torch.tensor(sharded, device=norms.device)
    of_whole = torch.linalg.vector_norm(norms[~here])
    return torch.hypot(of_whole, total(norms[here].square().sum()).sqrt())


@torch.no_grad()
def average_gradients(module: nn.Module) -> None:
    """Average over ranks the gradients of all parameters; the same ones have some on every rank."""
    if world_size() == 1:
        return
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    flat = mean(torch.cat([gradient.flatten() for gradient in gradients]))
    parts = flat.split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


@torch.no_grad()
def average_whole(module: nn.Module) -> None:
    """Average over ranks the gradients of the parameters that `shard` left whole."""
    if not _shards(module):
        return
    gradients = [
        p.grad for p in module.parameters() if p.grad is not None and not is_sharded(p.grad)
    ]
    if gradients:
        torch._foreach_copy_(gradients, list(mean(torch.stack(gradients)).unbind()))


@torch.no_grad()
def copy_whole(sharded: nn.Module, module: nn.Module) -> None:
    """Give `module` the state of its sharded copy, gathered tensor by tensor on every rank."""
    mine = module.state_dict()
    for name, value in sharded.state_dict().items():
        mine[name].copy_(value.full_tensor() if is_sharded(value) else value)


def begin_shards(folder: Path, tensors: dict[str, Tensor]) -> Callable[[], None]:
    """Copy tensors; return what writes them, of each rank what only it holds, in any thread.

    It returns once all ranks have written, and raises UserError if one could not.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.filesystem import FileSystemWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    copies = {name: _on_host(tensor.detach()) for name, tensor in tensors.items()}
    single = world_size() == 1
    group = None if single else _beside(dist.group.WORLD)

    def write() -> None:
        writer = FileSystemWriter(folder)
        try:
            save(copies, storage_writer=writer, no_dist=single, process_group=group)
        except CheckpointException as error:
            raise UserError(f"{folder}: cannot be written ({_first_reason(error)})") from error

    _ignore_lone_process()
    return write


def _on_host(tensor: Tensor) -> Tensor:
    return tensor.clone() if tensor.device.type == "cpu" else tensor.to("cpu")


def read_shards(folder: Path, tensors: dict[str, Tensor]) -> None:
    """Fill tensors, sharded or not, with what any number of ranks has written.

    Raises:
        UserError: A rank could not read its part.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.filesystem import FileSystemReader
    from torch.distributed.checkpoint.state_dict_loader import load

    try:
        _ignore_lone_process()
        load(tensors, storage_reader=FileSystemReader(folder), no_dist=world_size() == 1)
    except CheckpointException as error:
        raise UserError(f"{folder}: damaged ({_first_reason(error)})") from error


@cache
def _beside(_: dist.ProcessGroup | None) -> dist.ProcessGroup | None:
    """Return a second group of all ranks, for threads that agree while steps are computed."""
    return dist.new_group(backend="gloo")


def _shards(module: nn.Module) -> bool:
    return hasattr(module, "set_requires_gradient_sync")


def _ignore_lone_process() -> None:
    """Keep torch from warning, at every checkpoint, that one process is one process."""
    # For good, and not for a block: filters are of all threads, and shards are written in one.
    warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)


def _first_reason(error: Any) -> str:
    reason = next(iter(error.failures.values()))[0]
    return " ".join(str(reason).split()) or type(reason).__name__


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
