"""Objects of somebody's own code, named by module and attribute: `python:mine:MyEncoder`."""

import importlib
import sys
from pathlib import Path
from typing import Any

from audiossl.errors import UserError, did_you_mean

PREFIX = "python:"


def python_object(place: str) -> Any:
    """Import `module:name`, looked up in the working folder, too.

    Args:
        place: As in "mypackage.encoders:MyEncoder", with or without "python:" before it.

    Raises:
        UserError: There is no such module or name.

    >>> python_object("python:math:tau")
    6.283185307179586
    """
    place = place.removeprefix(PREFIX)
    module_name, _, name = place.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except (ModuleNotFoundError, ValueError) as error:
        raise UserError(
            f"{PREFIX}{place}: {error}; write python:package.module:Name, from a folder where "
            "Python finds it"
        ) from error
    if not hasattr(module, name):
        hint = did_you_mean(name, vars(module))
        raise UserError(f"{PREFIX}{place}: {module_name} has no {name!r}{hint}")
    return getattr(module, name)
