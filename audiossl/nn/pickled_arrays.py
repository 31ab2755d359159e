"""What a torch file may name so that arrays, scalars and paths come out of it, and nothing else."""

import pickletools
import zipfile
import zlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np

_TYPES = ("bool", "dict", "float", "int", "list", "set", "str", "tuple")
SETTINGS = (
    "fairseq.", "omegaconf.", "argparse.Namespace", "typing.", "enum.", "collections.defaultdict",
    *(f"builtins.{kind}" for kind in _TYPES),
)  # fmt: skip
"""Classes of the settings that other training code keeps beside weights: full names of
classes, or packages, which end in a dot."""
_PICKLES_OF_OLD_FILES = 4
"""A magic number, the version, the system, and the content, before torch 1.6."""


class Inert:
    """Stands for an object of another library: holds what it was made of, and does nothing.

    Example:
        >>> Inert("en").arguments
        ('en',)
    """

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __new__(cls, *arguments: Any) -> "Inert":
        """Make one whatever it is given."""
        made = super().__new__(cls)
        made.arguments, made.state = arguments, None
        return made

    def __setstate__(self, state: Any) -> None:
        """Hold the attributes of the object."""
        self.state = state


def stand_ins(path: Path, classes: Sequence[str]) -> list[tuple[type[Inert], str]]:
    """List what of `classes` a torch file names, for `torch.serialization.safe_globals`.

    Args:
        path: The file.
        classes: As `SETTINGS`.

    Raises:
        ValueError, KeyError, EOFError, OSError: It is no torch file.
    """
    packages = tuple(name for name in classes if name.endswith("."))
    named = _named_globals(path) if classes else set()
    return [(Inert, n) for n in sorted(named) if n in classes or n.startswith(packages)]


def _named_globals(path: Path) -> set[str]:
    """List the functions and classes that a torch file names, without making any of them."""
    with path.open("rb") as file:
        try:
            if zipfile.is_zipfile(file):
                return _named(BytesIO(_archived(file)))
        except (zipfile.BadZipFile, zlib.error, RuntimeError) as error:
            raise ValueError(f"damaged zip: {error}") from error
        file.seek(0)
        return set().union(*(_named(file) for _ in range(_PICKLES_OF_OLD_FILES)))


def _archived(file: IO[bytes]) -> bytes:
    """Read the one pickle of a torch file that is a zip, checked by its sum."""
    with zipfile.ZipFile(file) as archive:
        (content,) = [n for n in archive.namelist() if n.endswith("/data.pkl")]
        return archive.read(content)


def _named(pickled: Any) -> set[str]:
    operations = pickletools.genops(pickled)
    return {
        str(argument).replace(" ", ".")
        for operation, argument, _ in operations
        if operation.name == "GLOBAL"
    }


def array_globals() -> list[Any]:
    """List what rebuilds numpy arrays and scalars, for `torch.serialization.safe_globals`.

    Arrays of Python objects stay refused: what they hold is read by the same careful reader.
    """
    rebuild = {"_reconstruct": np.zeros(0).__reduce__()[0], "scalar": np.float32(0).__reduce__()[0]}
    # Files written with numpy 1 say "numpy.core", those of numpy 2 "numpy._core".
    named = [
        (function, f"numpy.{package}.multiarray.{name}")
        for name, function in rebuild.items()
        for package in ("core", "_core")
    ]
    kinds = {type(np.dtype(code)) for code in np.typecodes["AllInteger"] + "efd?"}
    return [*named, np.ndarray, np.dtype, *sorted(kinds, key=lambda kind: kind.__name__)]


def path_globals() -> list[Any]:
    """List what makes the paths that training checkpoints have among their settings.

    They become paths that can be named and not opened.
    """
    return [(PurePosixPath, f"pathlib.{module}PosixPath") for module in ("", "_local.")]
