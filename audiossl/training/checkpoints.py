"""Checkpoints: write whole, keep few, find the last that can be read.

A run that is not sharded has one file a checkpoint, written by the first rank; a sharded one has a
folder, to which every rank adds its shards, and that any number of ranks can read.
"""

import logging
import re
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from audiossl import distributed
from audiossl.atomic_files import remove_folder
from audiossl.errors import UserError
from audiossl.nn.weights import read_weights, write_state
from audiossl.training.sharded_checkpoint import begin_sharded, mapped, read_sharded

FOLDER = "checkpoints"
Sharding: TypeAlias = Literal["none", "full"]
"""What is spread over ranks: nothing, or parameters, gradients, moments and means of weights."""


class CheckpointWriter:
    """Writes checkpoints beside the training: a step waits for a copy of the state, not for a disk.

    One checkpoint is on its way at most: the next one waits for it. Its copy takes as much memory
    of the host as the state has, and is kept for the next one: memory that is new to a process
    costs several times the copy.
    """

    def __init__(self, folder: Path, keep: int, sharding: Sharding = "none") -> None:
        """Write to `<folder>/checkpoints`, and keep the newest `keep`; made on every rank."""
        self.folder, self.keep, self.sharding = folder / FOLDER, keep, sharding
        self.first = distributed.is_first()
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[None] | None = None
        self._copies: dict[str, Tensor] = {}

    @property
    def failed(self) -> bool:
        """Whether a checkpoint could not be written; `wait` says why."""
        pending = self._pending
        return pending is not None and pending.done() and pending.exception() is not None

    def write(self, step: int, state: dict[str, Any]) -> None:
        """Copy the state after `step` updates, and begin to write it; called on every rank.

        Raises:
            UserError: The one before could not be written.
        """
        self.wait()
        path = self.folder / f"step-{step:08d}"
        if self.sharding == "full":
            self._begin(begin_sharded(path, state))
        elif self.first:
            copied = self._copied(state)
            self._begin(lambda: write_state(path.with_suffix(".pt"), copied))

    def wait(self) -> None:
        """Return once what was begun is written, on all ranks; called on every rank.

        Raises:
            UserError: It could not be written.
        """
        problem = None
        try:
            if self._pending is not None:
                self._pending.result()
        except UserError as error:
            problem = str(error)
        finally:
            self._pending = None
        if problem := distributed.agree(problem):
            raise UserError(problem)

    def close(self) -> None:
        """Let what was begun be finished, whatever became of the run."""
        self._thread.shutdown()

    def _copied(self, state: dict[str, Any]) -> dict[str, Any]:
        """Copy the tensors of a state, to memory that devices write to directly."""
        before, self._copies = self._copies, {}
        devices: set[torch.device] = set()

        def copied(place: str, tensor: Tensor) -> Tensor:
            copy = before.get(place)
            if copy is None or (copy.shape, copy.dtype) != (tensor.shape, tensor.dtype):
                copy = torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda)
            self._copies[place] = copy
            if tensor.is_cuda:
                devices.add(tensor.device)
            return copy.copy_(tensor.detach(), non_blocking=True)

        copy: dict[str, Any] = mapped(state, copied)
        for device in devices:
            torch.cuda.synchronize(device)
        return copy

    def _begin(self, write: Callable[[], None]) -> None:
        self._pending = self._thread.submit(self._write, write)

    def _write(self, write: Callable[[], None]) -> None:
        write()
        if self.first:
            for _, old in _checkpoints(self.folder)[: -self.keep]:
                remove_folder(old) if old.is_dir() else old.unlink()


def read_last_checkpoint(
    folder: Path, sharding: Sharding | None = None, layout: Mapping[str, Tensor] | None = None
) -> dict[str, Any] | None:
    """Read the newest checkpoint that is not damaged; None if there is none.

    Args:
        folder: Output of a run.
        sharding: What the checkpoint must be of; by default what it is.
        layout: Tensors whose like this rank wants, by their place in the state; it gets whole ones
            where none is named.

    Raises:
        UserError: It is of another sharding.
    """
    for _, path in reversed(_checkpoints(folder / FOLDER)):
        written: Sharding = "full" if path.is_dir() else "none"
        if sharding not in (None, written):
            raise UserError(
                f"{path}: was written with resources.sharding {written}, which cannot go on with "
                f"{sharding}: keep to {written}, or begin in another output"
            )
        try:
            return read_sharded(path, layout or {}) if path.is_dir() else dict(read_weights(path))
        except UserError as error:
            logging.getLogger(__name__).warning("%s; going back to the one before", error)
    return None


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    checkpoints = []
    for path in folder.glob("step-*"):
        if match := re.fullmatch(r"step-(\d+)(\.pt)?", path.name):
            checkpoints.append((int(match[1]), path))
    return sorted(checkpoints)
