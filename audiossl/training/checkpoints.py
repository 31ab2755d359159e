"""Checkpoints: write whole, keep few, find the last that can be read.

A run that is not sharded has one file a checkpoint, written by the first rank; a sharded one has a
folder, to which every rank adds its shards, and that any number of ranks can read.
"""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from torch import Tensor

from audiossl import distributed
from audiossl.atomic_files import remove_folder
from audiossl.errors import UserError
from audiossl.nn.weights import read_weights, write_state
from audiossl.training.sharded_checkpoint import read_sharded, write_sharded

FOLDER = "checkpoints"
Sharding: TypeAlias = Literal["none", "full"]
"""What is spread over ranks: nothing, or parameters, gradients, moments and means of weights."""


def write_checkpoint(
    folder: Path, step: int, state: dict[str, Any], keep: int, sharding: Sharding = "none"
) -> None:
    """Write the state after `step` updates, and remove all but the newest `keep` checkpoints.

    Called on every rank, which all return once it is written.
    """
    path = folder / FOLDER / f"step-{step:08d}"
    if sharding == "full":
        write_sharded(path, state)
    elif distributed.is_first():
        write_state(path.with_suffix(".pt"), state)
    if distributed.is_first():
        for _, old in _checkpoints(folder)[:-keep]:
            remove_folder(old) if old.is_dir() else old.unlink()
    distributed.barrier()


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
    for _, path in reversed(_checkpoints(folder)):
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
    for path in (folder / FOLDER).glob("step-*"):
        if match := re.fullmatch(r"step-(\d+)(\.pt)?", path.name):
            checkpoints.append((int(match[1]), path))
    return sorted(checkpoints)
