"""Help is the same whether libraries are imported or replaced."""

import argparse
import json
import pkgutil
import subprocess
import sys
from importlib import import_module

import recipes
from audiossl.cli import COMMANDS
from audiossl.stand_ins import LIBRARIES
from recipes.settings import help_text

PROGRAM = """
import sys
sys.argv = ["-m", "--help"]
import recipes  # which replaces the libraries
from tests.test_stand_ins import print_helps
print_helps()
"""


def helps() -> dict[str, str]:
    """Return what `--help` prints of every stage and of every subcommand."""
    result = {}
    for module in pkgutil.walk_packages(recipes.__path__, "recipes."):
        config = getattr(import_module(module.name), "Config", None)
        if getattr(config, "__module__", None) == module.name:
            result[module.name] = help_text(config, module.name)
    for command, (module, _) in COMMANDS.items():
        parser = argparse.ArgumentParser(prog=command)
        import_module(module).add_arguments(parser)
        result[command] = parser.format_help()
    return result


def print_helps() -> None:
    real = [name for name in LIBRARIES if hasattr(sys.modules.get(name), "__file__")]
    print(json.dumps({"helps": helps(), "imported": real}))


def test_help_is_the_same_without_the_libraries():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=True
    )
    answer = json.loads(done.stdout)
    assert answer["imported"] == []
    expected = helps()
    assert len(expected) > 20
    assert answer["helps"] == expected


def test_the_command_line_asks_for_it():
    code = "import sys; from audiossl.cli import main; main(['embed', '--help'])"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0
    assert "--encoder" in done.stdout
    assert "torch._C" not in done.stderr
