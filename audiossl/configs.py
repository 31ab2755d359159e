"""Configs as plain dicts and back: what `config.json` and `config.yaml` hold."""

import dataclasses
import types
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from audiossl.errors import UserError, did_you_mean


def plain(value: Any) -> Any:
    """Turn a config into what YAML and JSON can hold: dicts, lists, strings and numbers."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def from_plain(kind: Any, value: Any, source: str) -> Any:
    """Build a config of type `kind` from what `plain` made of it.

    Unions of configs are told apart by their field `kind`.

    Args:
        kind: A dataclass, or a type of one of its fields.
        value: Plain content.
        source: Where it comes from, for messages.

    Raises:
        UserError: A field is unknown, or no alternative of a union fits.
    """
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _from_union(kind, value, source)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _from_dict(kind, value, source)
    if origin is tuple:
        inner = get_args(kind)[0]
        return tuple(from_plain(inner, item, source) for item in value)
    return Path(value) if kind is Path else value


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """Name every setting by its path: {"a": {"b": 1}} -> {"a.b": 1}."""
    if not isinstance(value, dict) or not value:
        return {name: value}
    result: dict[str, Any] = {}
    for key, item in value.items():
        result.update(flat(item, f"{name}.{key}" if name else key))
    return result


def _from_dict(kind: type, value: Any, source: str) -> Any:
    if not isinstance(value, dict):
        raise UserError(f"{source}: expected the fields of {kind.__name__}, found {value!r}")
    hints = get_type_hints(kind)
    for name in value:
        if name not in hints:
            raise UserError(f"{source}: unknown field {name!r}{did_you_mean(name, hints)}")
    return kind(**{name: from_plain(hints[name], item, source) for name, item in value.items()})


def _from_union(kind: Any, value: Any, source: str) -> Any:
    alternatives = get_args(kind)
    if value is None and type(None) in alternatives:
        return None
    configs = [a for a in alternatives if isinstance(a, type) and dataclasses.is_dataclass(a)]
    if not configs:
        return value
    tags = {next(iter(get_args(get_type_hints(config)["kind"]))): config for config in configs}
    tag = value.get("kind") if isinstance(value, dict) else None
    if tag not in tags:
        hint = did_you_mean(str(tag), tags)
        raise UserError(f"{source}: unknown kind {tag!r}{hint} (known: {', '.join(tags)})")
    return _from_dict(tags[tag], value, source)
