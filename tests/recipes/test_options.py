"""The settings of all stages are a list in the repository, so that none is added by accident."""

import dataclasses
import pkgutil
from importlib import import_module
from pathlib import Path

import recipes
from audiossl.configs import setting_names

FROZEN = Path(__file__).with_name("options.txt")


def settings() -> list[str]:
    """List `stage: setting` of every stage."""
    names = []
    for module in pkgutil.walk_packages(recipes.__path__, "recipes."):
        config = getattr(import_module(module.name), "Config", None)
        is_stage = dataclasses.is_dataclass(config) and config.__module__ == module.name
        if is_stage:
            names += {f"{module.name}: {name}" for name in setting_names(config)}
    return sorted(names)


def test_settings_are_those_that_were_agreed():
    now, agreed = set(settings()), set(FROZEN.read_text("utf-8").split("\n")) - {""}
    told = "write them down: python -m tests.recipes.test_options"
    assert now - agreed == set(), f"new settings; {told}"
    assert agreed - now == set(), f"settings that are gone; {told}"


if __name__ == "__main__":
    FROZEN.write_text("\n".join(settings()) + "\n", "utf-8")
