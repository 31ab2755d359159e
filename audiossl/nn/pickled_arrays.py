"""What a torch file may name so that arrays, scalars and paths come out of it, and nothing else."""

from pathlib import PurePosixPath
from typing import Any

import numpy as np


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
