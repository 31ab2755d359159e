"""From a plan to a stream of batches: workers read ahead, the position travels with each batch."""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from torch.utils.data import DataLoader, Dataset

from audiossl import distributed
from audiossl.data.plan import Plan, Position
from audiossl.errors import UserError
from audiossl.preemption import leave_signals_to_parent


@runtime_checkable
class BatchSource(Protocol):
    """What can load any batch of a plan."""

    @property
    def plan(self) -> Plan:
        """The batches there are."""
        ...

    def load(self, position: Position, rank: int = 0, world_size: int = 1) -> Any:
        """Load a rank's share of the batch at `position`."""
        ...


def stream(source: BatchSource, start: Position, workers: int) -> Iterator[tuple[Any, Position]]:
    """Yield this rank's share of every batch from `start` on, forever.

    Args:
        source: Loads batches.
        start: The first batch.
        workers: Processes that load beside this one; none of them changes what is loaded.

    Yields:
        A batch, and the position after it: where to go on if the run ends here.
    """
    world_size = distributed.world_size()
    smallest = int(source.plan.batch_sizes.min())
    if smallest % world_size:
        raise UserError(
            f"batches of {smallest} cuts cannot be shared evenly by {world_size} ranks: choose a "
            "multiple as plan.batch_size, or as plan.multiple"
        )
    shares = _Shares(source, distributed.rank(), world_size)
    loader = DataLoader(
        shares,
        batch_size=None,
        sampler=source.plan.positions(start),
        num_workers=workers,
        # Threads of torch do not survive a fork.
        multiprocessing_context="spawn" if workers else None,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_ignore_signals,
        pin_memory=torch.cuda.is_available(),
    )
    position = start
    for batch in loader:
        position = source.plan.next(position)
        yield batch, position


def _ignore_signals(worker: int) -> None:  # noqa: ARG001
    leave_signals_to_parent()


class _Shares(Dataset[Any]):
    def __init__(self, source: BatchSource, rank: int, world_size: int) -> None:
        self.source, self.rank, self.world_size = source, rank, world_size

    def __getitem__(self, position: Position) -> Any:
        return self.source.load(position, self.rank, self.world_size)
