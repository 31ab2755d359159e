"""Layers of settings: plain content of configs laid over other plain content, config by config."""

from collections.abc import Mapping
from typing import Any, get_args, get_origin, get_type_hints

from audiossl.configs import Word, configs_of, is_open_union, of_kind
from audiossl.python_objects import is_python, python_config


def merged(kind: Any, old: Any, new: Any) -> Any:
    """Lay plain content over other plain content of the same type, config by config.

    Configs in a dict are laid over those of the same name, and items that a command line names one
    by one are added: --encoders.mine. Other settings that are dicts or lists themselves are
    replaced, and so is a config by one of another kind.
    """
    if get_origin(kind) in (dict, Mapping) and isinstance(new, dict):
        inner = get_args(kind)[1]
        one_by_one = any(isinstance(value, Word) for value in new.values())
        if isinstance(old, Word) and one_by_one:
            old = old.parsed()
        if isinstance(old, dict) and (one_by_one or configs_of(inner)):
            return {**old, **{k: merged(inner, old.get(k), v) for k, v in new.items()}}
        return new
    if configs_of(kind):
        # A command line may give a config as a whole, and some of its settings one by one.
        old, new = (v.parsed() if isinstance(v, Word) else v for v in (old, new))
        old, new = of_kind(kind, old), of_kind(kind, new)
    config = _alternative(kind, new, old)
    if config is None or not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    hints = get_type_hints(config)
    # A config without a kind is of the default's, which its settings tell from another.
    if "kind" in new and new["kind"] != old.get("kind") and ("kind" in old or old.keys() - hints):
        return new
    laid = {name: merged(hints.get(name), old.get(name), item) for name, item in new.items()}
    return {**old, **laid}


def _alternative(kind: Any, *values: Any) -> type | None:
    """Choose the config of a type by the first of several values that names its kind."""
    configs = configs_of(kind)
    tags = [value["kind"] for value in values if isinstance(value, dict) and "kind" in value]
    tag = str(tags[0]) if tags else None
    if is_python(tag) and is_open_union(kind):
        return python_config(str(tag))
    return configs.get(tag or "", next(iter(configs.values()), None))
