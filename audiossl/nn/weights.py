"""Weights on disk: written as safetensors, read from strangers without running their code."""

import io
import json
import os
import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from audiossl.atomic_files import atomic_write
from audiossl.earlier_names import renamed
from audiossl.errors import UserError, did_you_mean
from audiossl.nn.pickled_arrays import array_globals, path_globals, stand_ins


def write_weights(
    path: Path, state: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write named tensors as safetensors, whole or not at all."""
    # safetensors refuses tensors that share memory; a copy of each is what the reader gets anyway.
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    with atomic_write(path) as temporary:
        # safetensors makes files that nobody else can read; whom the umask lets read may do so.
        temporary.touch()
        mode = temporary.stat().st_mode
        try:
            save_file(tensors, temporary, metadata=metadata)
        except SafetensorError as error:
            number = re.search(r"os error (\d+)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
        temporary.chmod(mode)
        _sort_metadata(temporary)


def write_state(path: Path, state: Any) -> None:
    """Write a nest of dicts, lists, numbers and tensors as torch does, whole or not at all."""
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        noting = _NotingErrors(file)
        try:
            torch.save(state, cast(IO[bytes], noting))
        except RuntimeError:
            # torch says only that it lost count of what is written.
            if noting.error is not None:
                raise noting.error from None
            raise


class _NotingErrors(io.RawIOBase):
    """A file that notes why it could not be written."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, block: Any) -> int:
        """Write."""
        try:
            return self.file.write(block)
        except OSError as error:
            self.error = error
            raise


def _sort_metadata(path: Path) -> None:
    """Put metadata in the order of names: safetensors writes it in another one in each process."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        if metadata := header.get("__metadata__"):
            header["__metadata__"] = dict(sorted(metadata.items()))
            text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
            assert len(text) <= size
            file.seek(8)
            file.write(text.ljust(size))


def read_weights(path: Path, inert: Sequence[str] = ()) -> Any:
    """Read a file of tensors: safetensors, or a torch file without code in it.

    Args:
        path: The file.
        inert: Classes of other libraries for which an `Inert` is put, as `SETTINGS` names them.

    Returns:
        What the file holds: for safetensors a dict of tensors, for torch files whatever nest of
        dicts, lists, numbers and tensors they hold.

    Raises:
        UserError: The file is missing, damaged, or a pickle that would run code.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file of weights")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise UserError(f"{path}: damaged or not safetensors ({error})") from error
    try:
        with warnings.catch_warnings():
            # torch warns of unusual pickle protocols; what it cannot read it refuses anyway.
            warnings.simplefilter("ignore")
            allowed = [*array_globals(), *path_globals(), *stand_ins(path, inert)]
            with torch.serialization.safe_globals(allowed):
                return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = f"it names {named[1]}" if named else str(error).splitlines()[0]
        raise UserError(
            f"{path}: refused, because reading it would run code that it brings ({reason}); "
            "convert it to safetensors where you trust it, and give that file"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: damaged, or not a file of torch weights ({error})") from error


def named_tensors(content: Any, source: str) -> dict[str, Tensor]:
    """Take what a file holds for named tensors; arrays of NumPy become tensors.

    Args:
        content: What `read_weights` gave.
        source: Where it comes from, for the message.

    Raises:
        UserError: It is something else.

    Example:
        >>> named_tensors({"weight": np.zeros(2, np.float32)}, "an example")
        {'weight': tensor([0., 0.])}
    """
    if not isinstance(content, Mapping):
        raise UserError(f"{source}: holds a {type(content).__name__}, expected named tensors")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor | np.ndarray):
            kind = type(value).__name__
            raise UserError(f"{source}: {name!r} is a {kind}, expected a name and a tensor")
    return {
        name: value if isinstance(value, Tensor) else torch.from_numpy(np.array(value))
        for name, value in content.items()
    }


def load_exactly(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load `state` into `module`, where every tensor must be there once, in its shape.

    fp16 and bf16 tensors are converted to the module's type.

    Args:
        module: What receives the weights.
        state: Named tensors.
        source: Where they come from, for the message.

    Raises:
        UserError: Tensors are missing, unknown, mis-shaped or not finite; names all kinds at once.

    Example:
        >>> layer = torch.nn.Linear(2, 1)
        >>> load_exactly(layer, {"weight": torch.ones(1, 2), "bias": torch.zeros(1)}, "an example")
        >>> layer(torch.ones(1, 2)).item()
        2.0
    """
    state = renamed(state)
    expected = module.state_dict()
    missing = [name for name in expected if name not in state]
    unknown = [name for name in state if name not in expected]
    shapes = [
        f"{name} is {tuple(state[name].shape)}, expected {tuple(expected[name].shape)}"
        for name in expected
        if name in state and state[name].shape != expected[name].shape
    ]
    kinds = [
        f"{name} is of {str(state[name].dtype).removeprefix('torch.')}"
        for name in expected
        if name in state and _kind(state[name]) != _kind(expected[name])
    ]
    problems = [
        _list(f"{len(missing)} of {len(expected)} tensors missing", missing),
        _list(f"{len(unknown)} unknown", _guess(unknown, missing)),
        _list(f"{len(shapes)} mis-shaped", shapes),
        _list(f"{len(kinds)} of other numbers", kinds),
    ]
    mismatches = [problem for problem in problems if problem]
    if mismatches:
        raise UserError(f"{source}: weights do not fit the network: {'; '.join(mismatches)}")
    damaged = [name for name in expected if not _is_finite(state[name])]
    if damaged:
        raise UserError(f"{source}: {_list('weights that are NaN or infinite', damaged)}")
    module.load_state_dict(state)


def _is_finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _kind(tensor: Tensor) -> tuple[bool, bool]:
    return tensor.is_floating_point(), tensor.is_complex()


def _guess(unknown: list[str], missing: list[str]) -> list[str]:
    return [name + did_you_mean(name, missing) for name in unknown[:3]] + unknown[3:]


def _list(title: str, names: list[str], most: int = 3) -> str:
    if not names:
        return ""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{title} ({', '.join(names[:most])}{rest})"
