"""Objects of somebody's own code, named by module and attribute: `python:mine:MyEncoder`."""

import dataclasses
import importlib
import sys
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from audiossl.errors import UserError, did_you_mean

PREFIX = "python:"


@runtime_checkable
class UserDefined(Protocol):
    """A member of a union of configs: the union also takes those of users' own classes."""

    @property
    def kind(self) -> str:
        """Name of the class, python:module:Class."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class NameOnly:
    """The config of a class that has no settings."""

    kind: str
    """python:module:Class."""


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


def is_python(kind: Any) -> bool:
    """Whether a kind names somebody's own object."""
    return isinstance(kind, str) and kind.startswith(PREFIX)


def python_config(kind: str) -> type:
    """Find the dataclass of a class' settings: its attribute `Config`, or `NameOnly`.

    Raises:
        UserError: The class is not found, or its `Config` is no dataclass with a field `kind`.
    """
    config = getattr(python_object(kind), "Config", NameOnly)
    is_config = dataclasses.is_dataclass(config) and isinstance(config, type)
    if not is_config or "kind" not in {field.name for field in dataclasses.fields(config)}:
        raise UserError(f"{kind}: its Config must be a dataclass with a field kind: str")
    return config
