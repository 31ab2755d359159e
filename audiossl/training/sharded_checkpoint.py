"""A checkpoint of which every rank writes its shards, and that any number of ranks can read.

    step-00004000/__0_0.distcp, ...   the tensors, by torch.distributed.checkpoint
    step-00004000/state.pt            the state around them, with their shapes

It is written under another name, flushed, and renamed by the first rank.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audiossl import distributed
from audiossl.atomic_files import begin_folder, finish_folder
from audiossl.errors import UserError
from audiossl.nn.weights import read_weights, write_state

STATE = "state.pt"


def begin_sharded(path: Path, state: dict[str, Any]) -> Callable[[], None]:
    """Begin to write a nest of dicts, lists, numbers and tensors; called on every rank.

    Returns:
        What ends it, in any thread: it returns once all is written, and raises UserError if a rank
        could not write. The tensors were copied, and may change meanwhile.

    Raises:
        UserError: The folder cannot be made.
    """
    temporary = path.with_name(f".{path.name}.part")
    first = distributed.is_first()
    _by_first(lambda: begin_folder(path))
    tensors: dict[str, Tensor] = {}

    def outline(place: str, tensor: Tensor) -> Tensor:
        tensors[place] = tensor
        return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")

    around = mapped(state, outline)
    write = distributed.begin_shards(temporary, tensors)

    def finish() -> None:
        write()
        # The first rank's part is done once those of all others are.
        if first:
            write_state(temporary / STATE, around)
            finish_folder(path)

    return finish


def read_sharded(path: Path, layout: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read a state; called on every rank.

    Args:
        path: The folder.
        layout: Tensors like which those at the same place in the state are wanted: "method/weight".

    Raises:
        UserError: It is damaged.
    """
    around = _outline(path)
    tensors: dict[str, Tensor] = {}

    def prepare(place: str, outline: Tensor) -> Tensor:
        like = layout.get(place)
        tensors[place] = (
            torch.zeros(outline.shape, dtype=outline.dtype)
            if like is None
            else torch.zeros_like(like, dtype=outline.dtype, requires_grad=False)
        )
        return tensors[place]

    state: dict[str, Any] = mapped(around, prepare)
    distributed.read_shards(path, tensors)
    return state


def _by_first(act: Callable[[], Any]) -> None:
    """Let the first rank act while the others wait, and share its failure."""
    problem = None
    if distributed.is_first():
        try:
            act()
        except UserError as error:
            problem = str(error)
    if problem := distributed.agree(problem):
        raise UserError(problem)


def _outline(path: Path) -> Any:
    """Read what is around the tensors; all ranks succeed, or none does."""
    around, problem = None, f"{path}: damaged where another rank reads it"
    try:
        around = read_weights(path / STATE)
    except UserError as error:
        problem = str(error)
    if distributed.any_rank(around is None):
        raise UserError(problem)
    return around


def mapped(nest: Any, function: Callable[[str, Tensor], Tensor], place: str = "") -> Any:
    """Replace each tensor of a nest, given its place: keys and indices with slashes between."""
    if isinstance(nest, Tensor):
        return function(place.lstrip("/"), nest)
    if isinstance(nest, dict):
        return {key: mapped(value, function, f"{place}/{key}") for key, value in nest.items()}
    if isinstance(nest, list | tuple):
        items = enumerate(nest)
        return type(nest)(mapped(value, function, f"{place}/{index}") for index, value in items)
    return nest
