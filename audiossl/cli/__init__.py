"""The `audiossl` command: one file per subcommand, imported only when it is asked for.

A subcommand's module has `HELP` (a line), `add_arguments(parser)` and `run(arguments)`, which may
return an exit code.
"""

import argparse
import importlib
import os
import sys
from types import ModuleType
from typing import NoReturn

from audiossl.errors import UserError, did_you_mean

COMMANDS: dict[str, str] = {
    "embed": "audiossl.cli.embed",
    "describe": "audiossl.cli.describe",
    "check": "audiossl.cli.check",
    "compare": "audiossl.cli.compare",
    "report": "audiossl.cli.report",
    "doctor": "audiossl.cli.doctor",
    "import": "audiossl.cli.import_",
    "export": "audiossl.cli.export",
}
"""Name of each subcommand, and the module behind it, in the order of `--help`."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; exit code 2 and one line on a mistake of the user."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        code = _run(words)
        # Here, and not when the interpreter ends, a reader that left can still be noticed.
        sys.stdout.flush()
        return code
    except UserError as error:
        print(f"audiossl: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of a pipe left (as `head` does); what it did not want is not an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(words: list[str]) -> int:
    parser = _Parser(
        prog="audiossl", description="Self-supervised audio and speech representations."
    )
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    asked = next((word for word in words if not word.startswith("-")), "")
    if asked and asked not in COMMANDS:
        raise UserError(f"unknown command {asked!r}{did_you_mean(asked, COMMANDS)}")
    for name in [asked] if asked else COMMANDS:
        module = _module(name)
        command = commands.add_parser(name, help=module.HELP, description=module.__doc__)
        if name == asked:
            module.add_arguments(command)
    chosen = parser.parse_args(words)
    return int(_module(chosen.command).run(chosen) or 0)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in a line, without the usage of everything."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see {self.prog} --help)")


def _module(name: str) -> ModuleType:
    return importlib.import_module(COMMANDS[name])
