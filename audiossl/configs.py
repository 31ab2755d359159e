"""Configs as plain dicts and back: what YAML files, command lines and `config.json` hold."""

import dataclasses
import math
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from typing_extensions import Never

from audiossl.errors import UserError, did_you_mean
from audiossl.python_objects import UserDefined, is_python, python_config


@dataclasses.dataclass(frozen=True)
class Range:
    """What numbers a setting may have, beside its type: `Annotated[int, Range(1)]`.

    Checked where a config is read from a file or a command line. NaN and infinity are none.
    """

    least: float | int = -math.inf
    most: float | int = math.inf
    above: float | int = -math.inf
    """A bound that is not in the range itself."""

    def __contains__(self, number: float | int) -> bool:
        return self.least <= number <= self.most and number > self.above

    def __str__(self) -> str:
        bounds = ((self.above, "above"), (self.least, "at least"), (self.most, "at most"))
        return " and ".join(f"{word} {n:g}" for n, word in bounds if math.isfinite(n))


LARGEST = 2**31 - 1
Count = Annotated[int, Range(1, LARGEST)]
"""How many, one at least."""
Whole = Annotated[int, Range(0, LARGEST)]
"""How many, or which; a seed."""
Share = Annotated[float, Range(0, 1)]
"""A share or a probability."""
Positive = Annotated[float, Range(above=0)]
"""A duration, a rate, a scale."""
Nonnegative = Annotated[float, Range(0)]
"""A weight."""


class Word(str):
    """A value as a command line gives it: text, unless the field it is for is no text."""

    __slots__ = ()

    def parsed(self) -> Any:
        """Read the word as YAML does."""
        try:
            return parse_yaml(self)
        except ValueError:
            return str(self)


def read_yaml(path: Path) -> Any:
    """Read a file of YAML.

    Raises:
        UserError: It cannot be read, is no YAML, or is more than any settings are.
    """
    try:
        return parse_yaml(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise UserError(f"{path}: no YAML: {' '.join(str(error).split())}") from error


def as_yaml(config: Any) -> str:
    """Write a config as YAML, its fields in their order."""
    import yaml

    return yaml.safe_dump(plain(config), sort_keys=False)


def parse_yaml(text: str) -> Any:
    """Parse YAML, in time and memory that settings need.

    Aliases make a nest of any size out of a few lines, or one that holds itself.

    Raises:
        ValueError: It is no YAML, or larger than settings are, its aliases written out.
    """
    import yaml

    if len(text) > _LONGEST_YAML:
        raise ValueError(f"{len(text)} characters, more than the {_LONGEST_YAML} of any settings")
    try:
        content = yaml.safe_load(text)
        if _written_out(content, {}) > _LONGEST_YAML:
            raise ValueError("with its aliases written out it is larger than any settings")
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    except RecursionError as error:
        raise ValueError("nested deeper than settings are") from error
    return content


_LONGEST_YAML = 4 << 20


def _written_out(content: Any, known: dict[int, int | float]) -> int | float:
    """Count the values of a nest, those of shared parts as often as they are named."""
    if not isinstance(content, (dict, list)):
        return 1
    if id(content) not in known:
        known[id(content)] = math.inf  # until it is known: what holds itself has no size
        items = [*content, *content.values()] if isinstance(content, dict) else content
        known[id(content)] = 1 + sum(_written_out(item, known) for item in items)
    return known[id(content)]


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
    """Build a config of type `kind` from plain content; the inverse of `plain`.

    Unions of configs are tagged by their field `kind`; one with the member `UserDefined` also
    takes `python:module:Class`. A config inside another one may name a few of its fields: the
    others keep the values of the default. Numbers may be text ("1e-3", which YAML takes for text);
    nothing else is converted.

    Args:
        kind: A dataclass, or a type of one of its fields.
        value: Plain content.
        source: Where it comes from, for messages.

    Raises:
        UserError: A setting is unknown, missing, or of another type than its field.
    """
    return _Reader(source, kind).value(kind, value, "", dataclasses.MISSING)


def setting_names(kind: Any) -> Iterator[str]:
    """List the names of all fields, those of nested configs by their path."""
    for alternative in (kind, *get_args(kind)):
        if not (dataclasses.is_dataclass(alternative) and isinstance(alternative, type)):
            continue
        hints = get_type_hints(alternative)
        for field in dataclasses.fields(alternative):
            yield field.name
            for name in setting_names(hints[field.name]):
                yield f"{field.name}.{name}"


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """Name every setting by its path: {"a": {"b": 1}} -> {"a.b": 1}."""
    if not isinstance(value, dict) or not value:
        return {name: value}
    result: dict[str, Any] = {}
    for key, item in value.items():
        result.update(flat(item, f"{name}.{key}" if name else key))
    return result


@dataclasses.dataclass(frozen=True)
class _Reader:
    """What messages need to know while a config is read."""

    source: str
    root: Any
    """Type of the whole config."""

    def value(self, kind: Any, value: Any, path: str, default: Any) -> Any:
        """Read one value of a type."""
        if get_origin(kind) is Annotated:
            number, allowed = get_args(kind)
            return self.in_range(number, allowed, value, path)
        if isinstance(value, Word):
            parsed = value.parsed()
            value = value if _is_text(kind) and parsed is not None else parsed
        if kind is Any:
            return value
        configs = configs_of(kind)
        if (configs or is_open_union(kind)) and not (
            value is None and type(None) in get_args(kind)
        ):
            return self.config(kind, value, path, default)
        if get_origin(kind) in (Union, types.UnionType):
            return self.one_of(get_args(kind), value, path)
        return self.plain(kind, value, path)

    def in_range(self, kind: Any, allowed: Range, value: Any, path: str) -> Any:
        """Read a number that a setting may have."""
        number = self.value(kind, value, path, dataclasses.MISSING)
        if number not in allowed:
            self.refuse(path, f"{_words(kind)} {allowed}", number)
        return number

    def plain(self, kind: Any, value: Any, path: str) -> Any:
        """Read a value of a type that is neither a config nor a union."""
        origin = get_origin(kind)
        if origin is tuple:
            return self.tuple(get_args(kind), value, path)
        if origin is list:
            return list(self.tuple((get_args(kind)[0], ...), value, path))
        if origin in (dict, Mapping):
            return self.dict(get_args(kind)[1], value, path)
        return self.scalar(kind, value, path)

    def config(self, union: Any, value: Any, path: str, default: Any) -> Any:
        """Read a config, of the kind it names or that of the default."""
        configs, is_open = configs_of(union), is_open_union(union)
        value = of_kind(union, value)
        if not isinstance(value, dict):
            names = [c.__name__ for c in configs.values()] or ["a class of one's own"]
            self.refuse(path, f"the fields of {' or '.join(names)}", value)
        base = default if is_open or type(default) in configs.values() else None
        tag = value.get("kind", getattr(base, "kind", None))
        if is_open and is_python(tag):
            kind = python_config(str(tag))
        elif len(set(configs.values())) == 1 and (tag is None or not is_open):
            kind = next(iter(configs.values()))
        else:
            kind = configs.get(str(tag)) or self.unknown_kind(tag, configs, path, is_open)
        return self.fields(kind, value, path, base if type(base) is kind else None)

    def unknown_kind(
        self, tag: Any, configs: Mapping[str, type], path: str, is_open: bool
    ) -> Never:
        """Refuse a kind that a union does not have."""
        hint = did_you_mean(str(tag), configs)
        known = ", ".join([*configs, *(["python:module:Class"] if is_open else [])])
        where = f"{path}.kind" if path else "kind"
        raise UserError(f"{self.source}: {where}: unknown {tag!r}{hint} (known: {known})")

    def fields(self, kind: type, value: dict[str, Any], path: str, base: Any) -> Any:
        """Read the fields of a config; what is not named keeps the value of `base`."""
        hints, own = get_type_hints(kind, include_extras=True), dataclasses.fields(kind)
        defaults = {f.name: default_of(f) if base is None else getattr(base, f.name) for f in own}
        places = {name: f"{path}.{name}" if path else str(name) for name in (*value, *defaults)}
        for name in value:
            if name not in defaults:
                self.unknown(places[name], (places[own_name] for own_name in defaults))
        given = {
            name: self.value(hints[name], item, places[name], defaults[name])
            for name, item in value.items()
        }
        for name, default in defaults.items():
            if name not in given and default is dataclasses.MISSING:
                raise UserError(f"{self.source}: setting {places[name]!r} is missing")
        return kind(**(defaults | given))

    def one_of(self, kinds: tuple[Any, ...], value: Any, path: str) -> Any:
        """Read a value of any of several types, none of them a config."""
        if set(kinds) == {Path, type(None)} and isinstance(value, list) and len(value) < 2:
            value = value[0] if value else None  # as earlier versions wrote it
        if value is None and type(None) in kinds:
            return None
        for kind in kinds[:-1]:
            try:
                return self.value(kind, value, path, dataclasses.MISSING)
            except UserError:
                continue
        return self.value(
            next(k for k in reversed(kinds) if k is not type(None)),
            value,
            path,
            dataclasses.MISSING,
        )

    def tuple(self, kinds: tuple[Any, ...], value: Any, path: str) -> tuple[Any, ...]:
        """Read a tuple of one type, or of one type each; one path alone is a tuple of one."""
        if kinds == (Path, ...) and isinstance(value, (str, Path)):
            value = (value,)
        if not isinstance(value, (list, tuple)):
            self.refuse(path, "a list", value)
        if len(kinds) == 2 and kinds[1] is ...:
            kinds = (kinds[0],) * len(value)
        if len(kinds) != len(value):
            self.refuse(path, f"{len(kinds)} values", value)
        places = [f"{path}[{index}]" for index in range(len(value))]
        rows = zip(kinds, value, places, strict=True)
        return tuple(self.value(k, item, place, dataclasses.MISSING) for k, item, place in rows)

    def dict(self, kind: Any, value: Any, path: str) -> dict[str, Any]:
        """Read names and values of one type."""
        if not isinstance(value, dict):
            self.refuse(path, "names and values", value)
        return {
            str(name): self.value(
                kind, item, f"{path}.{name}" if path else str(name), dataclasses.MISSING
            )
            for name, item in value.items()
        }

    def scalar(self, kind: Any, value: Any, path: str) -> Any:
        """Read text, a number, a truth value, a path, or one of a few words."""
        if get_origin(kind) is Literal:
            return self.word(get_args(kind), value, path)
        if kind in (float, int):
            return self.number(kind, value, path)
        if kind is Path and isinstance(value, (str, Path)):
            return self.path(value, path)
        if kind is str and isinstance(value, str):
            return str(value)
        if kind in (bool, type(None)) and isinstance(value, kind):
            return value
        if isinstance(kind, type) and kind not in (str, bool, Path, type(None)):
            return value
        return self.refuse(path, _words(kind), value)

    def word(self, words: Sequence[Any], value: Any, path: str) -> Any:
        """Read one of a few words."""
        if value in words:
            # The word itself: what a command line gives is text that YAML cannot write.
            return words[words.index(value)]
        known = [str(word) for word in words]
        hint = did_you_mean(str(value), known)
        raise UserError(
            f"{self.source}: {path}: unknown {value!r}{hint} (known: {', '.join(known)})"
        )

    def path(self, value: str | Path, path: str) -> Path:
        """Read one path."""
        if str(value).startswith("["):
            self.refuse(path, "one path, without brackets (those of a name: ./[...])", value)
        return Path(value)

    def number(self, kind: type, value: Any, path: str) -> Any:
        """Read a number, exactly; text that says one counts."""
        try:
            number = float(value) if not isinstance(value, bool) else None
        except (TypeError, ValueError, OverflowError):
            number = None
        wrong = number is None or not math.isfinite(number)
        if wrong or (kind is int and not float(number or 0).is_integer()):
            self.refuse(path, _words(kind), value)
        return value if type(value) is kind else kind(number)

    def unknown(self, path: str, siblings: Iterable[str]) -> None:
        """Refuse a setting that does not exist, with the closest that does."""
        hint = did_you_mean(path, siblings)
        hint = hint or did_you_mean(path, {*setting_names(self.root)} - {path})
        raise UserError(f"{self.source}: unknown setting {path!r}{hint}")

    def refuse(self, path: str, expected: str, value: Any) -> Any:
        """Refuse a value of another type."""
        where = f"{path}: " if path else ""
        raise UserError(f"{self.source}: {where}expected {expected}, found {value!r}")


def configs_of(kind: Any) -> dict[str, type]:
    """Name the configs that a type allows by their field `kind`."""
    result: dict[str, type] = {}
    for alternative in (kind, *get_args(kind)) if get_origin(kind) in _UNIONS else (kind,):
        if dataclasses.is_dataclass(alternative) and isinstance(alternative, type):
            words = get_args(get_type_hints(alternative).get("kind")) or (alternative.__name__,)
            result |= {str(word): alternative for word in words}
    return result


def is_open_union(kind: Any) -> bool:
    """Whether a type also allows the configs of users' own classes."""
    return kind is UserDefined or UserDefined in get_args(kind)


def of_kind(union: Any, value: Any) -> Any:
    """Take the name of a kind alone for a config of that kind: `loss: dcl`, `--encoder zipformer`.

    >>> of_kind(UserDefined, "python:mine:MyEncoder")
    {'kind': 'python:mine:MyEncoder'}
    """
    several = len(configs_of(union)) > 1 or is_open_union(union)
    return {"kind": str(value)} if several and isinstance(value, str) else value


def default_of(field: Any) -> Any:
    """Return the default of a dataclass field, or `MISSING`."""
    factory = field.default_factory
    return field.default if factory is dataclasses.MISSING else factory()


def _is_text(kind: Any) -> bool:
    kinds = get_args(kind) if get_origin(kind) in _UNIONS else (kind,)
    return any(k in (str, Path) or get_origin(k) is Literal for k in kinds)


def _words(kind: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return {**names, Path: "a path", type(None): "null"}.get(kind, str(kind))


_UNIONS = (Union, types.UnionType)
