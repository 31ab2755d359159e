"""From a plan to a stream of batches: workers read ahead, the position travels with each batch."""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int
from torch.utils.data import DataLoader, Dataset

from audiossl import distributed
from audiossl.data.plan import Position
from audiossl.errors import UserError


@runtime_checkable
class BatchPlan(Protocol):
    """What batches there are, in order."""

    batch_sizes: Int[np.ndarray, " kinds"]
    """Rows of a global batch, of each kind of batch there is."""
    size_setting: str
    """Name of the setting that batch sizes are made a multiple by."""

    def positions(self, start: Position) -> Iterator[Position]:
        """Go on from `start` forever."""
        ...

    def next(self, position: Position) -> Position:
        """Step over one batch."""
        ...


@runtime_checkable
class BatchSource(Protocol):
    """What can load any batch of a plan."""

    @property
    def plan(self) -> BatchPlan:
        """The batches there are."""
        ...

    def load(self, position: Position, rank: int = 0, world_size: int = 1) -> Any:
        """Load a rank's share of the batch at `position`."""
        ...


def stream(
    source: BatchSource, start: Position, workers: int, parts: int = 1
) -> Iterator[tuple[Any, Position]]:
    """Yield this rank's share of every batch from `start` on, forever.

    Args:
        source: Loads batches.
        start: The first batch.
        workers: Processes that load beside this one; none of them changes what is loaded.
        parts: Into how many parts each share will be split.

    Yields:
        A batch, and the position after it: where to go on if the run ends here.

    Raises:
        UserError: Some batches cannot be shared evenly; before any is loaded.
    """
    _check_shares(source.plan, distributed.world_size(), parts)
    return _stream(source, start, workers)


def _check_shares(plan: BatchPlan, ranks: int, parts: int) -> None:
    """Refuse shares of unlike sizes: ranks would draw, and weigh their rows, differently."""
    shares = ranks * parts
    uneven = sorted({int(size) for size in plan.batch_sizes if size % shares})
    if uneven:
        raise UserError(
            f"batches of {', '.join(map(str, uneven[:5]))} cuts cannot be split into {shares} "
            f"equal parts ({ranks} ranks x loop.accumulate {parts}): let {plan.size_setting} be a "
            f"multiple of {shares}"
        )


def _stream(source: BatchSource, start: Position, workers: int) -> Iterator[tuple[Any, Position]]:
    shares = _Shares(source, distributed.rank(), distributed.world_size())
    loader = DataLoader(
        shares,
        batch_size=None,
        sampler=source.plan.positions(start),
        num_workers=workers,
        # Threads of torch do not survive a fork.
        multiprocessing_context="spawn" if workers else None,
        prefetch_factor=4 if workers else None,
        pin_memory=torch.cuda.is_available(),
    )
    position = start
    for batch in loader:
        position = source.plan.next(position)
        yield batch, position


class _Shares(Dataset[Any]):
    def __init__(self, source: BatchSource, rank: int, world_size: int) -> None:
        self.source, self.rank, self.world_size = source, rank, world_size

    def __getitem__(self, position: Position) -> Any:
        return self.source.load(position, self.rank, self.world_size)
