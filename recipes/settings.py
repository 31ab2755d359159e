"""From YAML files and a command line to a frozen, typed config: the one place that parses."""

import dataclasses
import re
import sys
from argparse import ArgumentError
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

from jsonargparse import ArgumentParser, set_parsing_settings

from audiossl.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

AnyConfig = TypeVar("AnyConfig", bound="DataclassInstance")
set_parsing_settings(docstring_parse_attribute_docstrings=True)


_UNKNOWN = (
    r"Group '([\w.]+)' does not accept option '([\w.]+)'",
    r"""Parser key "([\w.]+)"[\s\S]*?Option '([\w.]+)' is not accepted""",
    r"Option '([\w.]+)' is not accepted",
    r"unrecognized arguments: --([\w.-]+)",
)
"""How jsonargparse says that a setting does not exist; the groups are parts of its name."""


def read_settings(
    kind: type[AnyConfig], program: str, words: Sequence[str] | None = None
) -> AnyConfig:
    """Build a config of `kind` from `--config` files, merged in order, and `--field value` pairs.

    Args:
        kind: A frozen dataclass; unions in it are told apart by their `kind` field.
        program: How the program is called, for `--help`.
        words: The command line; by default that of this process.

    Raises:
        UserError: A field is unknown (with the closest known one), missing, or of another type.
    """
    parser = ArgumentParser(prog=program, description=kind.__doc__, exit_on_error=False)
    parser.add_argument("--config", action="config", help="YAML file of settings; may be repeated")
    parser.add_class_arguments(kind, as_group=False)
    try:
        found = parser.instantiate(parser.parse_args(sys.argv[1:] if words is None else words))
    except ArgumentError as error:
        raise UserError(f"{program}: {_in_one_line(error.message, kind)}") from error
    except (TypeError, ValueError) as error:
        raise UserError(f"{program}: {error}") from error
    fields = vars(found)
    return kind(**{field.name: fields[field.name] for field in dataclasses.fields(kind)})


def _in_one_line(message: str, kind: type) -> str:
    """Say the first thing that is wrong, and the closest field that exists."""
    for pattern in _UNKNOWN:
        if match := re.search(pattern, message):
            word = ".".join(part for part in match.groups() if part).replace("-", "_")
            return f"unknown setting {word!r}{did_you_mean(word, set(_names(kind)))}"
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return " ".join(lines[:6])


def _names(kind: Any) -> Iterator[str]:
    """List the names of all fields, those of nested configs with and without their path."""
    for alternative in (kind, *get_args(kind)):
        if not dataclasses.is_dataclass(alternative):
            continue
        hints = get_type_hints(alternative)
        for field in dataclasses.fields(alternative):
            yield field.name
            for name in _names(hints[field.name]):
                yield name
                yield f"{field.name}.{name}"
