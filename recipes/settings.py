"""From YAML files and a command line to a frozen, typed config: the one place that parses."""

import ast
import dataclasses
import inspect
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

from audiossl.config_layers import merged
from audiossl.configs import (
    Word,
    configs_of,
    default_of,
    from_plain,
    is_open_union,
    plain,
    read_yaml,
)  # fmt: skip
from audiossl.earlier_names import renamed
from audiossl.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

AnyConfig = TypeVar("AnyConfig", bound="DataclassInstance")


def read_settings(
    kind: type[AnyConfig], program: str, words: Sequence[str] | None = None
) -> AnyConfig:
    """Build a config of `kind` from `--config` files in order, and `--field value` pairs.

    Args:
        kind: A frozen dataclass; unions in it are tagged by their `kind` field.
        program: How the program is called, for `--help`.
        words: The command line; by default that of this process.

    Raises:
        UserError: A field is unknown (with the closest known one), missing, or of another type.
    """
    content: dict[str, Any] = {}
    for name, value in _pairs(sys.argv[1:] if words is None else words, kind, program):
        new = _read(Path(value)) if name == "config" else _nested(name, Word(value))
        content = merged(kind, content, renamed(new))
    config: AnyConfig = from_plain(kind, content, "settings")
    return config


def _pairs(
    words: Sequence[str], kind: type["DataclassInstance"], program: str
) -> Iterator[tuple[str, str]]:
    """Yield names and values: "--a.b 1", "--a.b=1", "--yes"; print help if it is asked for."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in ("-h", "--help"):
            sys.stdout.write(help_text(kind, program) + "\n")
            raise SystemExit(0)
        written, equals, value = word.partition("=")
        if not written.startswith("--"):
            raise UserError(f"expected --setting value, found {word!r} (see --help)")
        name, is_flag = _setting(kind, written[2:])
        if not equals:
            if is_flag and (not rest or rest[0].startswith("--")):
                rest.insert(0, "true")
            if not rest:
                raise UserError(f"{word} has no value")
            value = rest.pop(0)
        yield name, value


def _setting(kind: type["DataclassInstance"], written: str) -> tuple[str, bool]:
    """Find the name of a setting, and whether it is a flag.

    --max-skipped is max_skipped, and --verify is resources.verify: what a stage works with needs no
    prefix. What follows a dot may be a name of the user's own.
    """
    first, dot, rest = written.partition(".")
    name = first.replace("-", "_")
    hints = get_type_hints(kind)
    if not dot and name not in hints and dataclasses.is_dataclass(hints.get("resources")):
        resources = get_type_hints(hints["resources"])
        if name in resources:
            return f"resources.{name}", resources[name] is bool
    return name + dot + rest, hints.get(name) is bool and not dot


def _nested(name: str, value: Any) -> dict[str, Any]:
    for part in reversed(name.split(".")):
        value = {part: value}
    return {**value}


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_yaml(path)
    except UserError as error:
        raise UserError(f"--config {error}") from error
    if not isinstance(content, dict | None):
        raise UserError(f"--config {path}: expected settings, found {content!r:.80}")
    return content or {}


def help_text(kind: type["DataclassInstance"], program: str) -> str:
    """List every setting with its type, default and meaning."""
    lines = [f"usage: {program} [--config FILE.yaml ...] [--setting value ...]", ""]
    lines += [f"{kind.__doc__}", "", "settings:"]
    return "\n".join([*lines, *_help_of(kind, "", None)])


def _help_of(kind: Any, path: str, default: Any) -> Iterator[str]:
    hints, docs = get_type_hints(kind), _docs(kind)
    for field in dataclasses.fields(kind):
        if field.name == "kind" and len(get_args(hints["kind"])) == 1:
            continue
        value = getattr(default, field.name, default_of(field))
        configs = {config: name for name, config in configs_of(hints[field.name]).items()}
        note = "required" if value is dataclasses.MISSING else f"default {plain(value)}"
        if configs:
            kinds = [*configs.values(), *_own_kind(hints[field.name])]
            note = f"kind: {', '.join(kinds)}; default {getattr(value, 'kind', '')}"
            note = note if len(kinds) > 1 else ""
        yield f"  --{path}{field.name}  {docs.get(field.name, '')}{f' ({note})' if note else ''}"
        for config, name in configs.items():
            if len(configs) > 1:
                yield f"   {name}:"
            chosen = value if type(value) is config else None
            yield from _help_of(config, f"{path}{field.name}.", chosen)


def _own_kind(union: Any) -> list[str]:
    return ["python:module:Class"] if is_open_union(union) else []


def _docs(kind: type) -> dict[str, str]:
    docs: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        docs |= _docs_of_module(base.__module__).get(base.__name__, {})
    return docs


@cache
def _docs_of_module(name: str) -> dict[str, dict[str, str]]:
    """Read the docstring below each field of each class of a module: {class: {field: text}}.

    Python keeps no docstrings of fields. A module is parsed once, whatever the number of its
    classes, which is a fifth of the time of parsers of docstrings that take class by class.
    """
    try:
        tree = ast.parse(inspect.getsource(sys.modules[name]))
    except (OSError, TypeError, KeyError):
        return {}  # made where there is no source: at a prompt
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return {node.name: dict(_documented(node.body)) for node in classes}


def _documented(body: Sequence[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, below in pairwise(body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                yield name, " ".join(text.split())
