"""Checkpoints: write whole, keep few, find the last that can be read."""

import logging
import re
from pathlib import Path
from typing import Any

import torch

from audiossl.errors import UserError
from audiossl.nn.weights import read_weights
from audiossl.whole import whole_file

FOLDER = "checkpoints"


def write_checkpoint(folder: Path, step: int, state: dict[str, Any], keep: int) -> None:
    """Write the state after `step` updates, and remove all but the newest `keep` checkpoints."""
    with whole_file(folder / FOLDER / f"step-{step:08d}.pt") as temporary:
        torch.save(state, temporary)
    for _, path in _checkpoints(folder)[:-keep]:
        path.unlink()


def read_last_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Read the newest checkpoint that is not damaged; None if there is none."""
    for _, path in reversed(_checkpoints(folder)):
        try:
            return dict(read_weights(path))
        except UserError as error:
            logging.getLogger(__name__).warning("%s; going back to the one before", error)
    return None


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    found = []
    for path in (folder / FOLDER).glob("step-*.pt"):
        if match := re.fullmatch(r"step-(\d+)\.pt", path.name):
            found.append((int(match[1]), path))
    return sorted(found)
