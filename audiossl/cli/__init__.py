"""The `audiossl` command: one file per subcommand, imported only when it is asked for.

A subcommand's module has `add_arguments(parser)` and `run(arguments)`, which may return an exit
code.
"""

import argparse
import importlib
import os
import sys
from typing import NoReturn

import audiossl
from audiossl.doors import exit_code
from audiossl.errors import UserError, did_you_mean
from audiossl.memory import keep_freed_memory
from audiossl.stand_ins import HELP, replace_libraries

COMMANDS: dict[str, tuple[str, str]] = {
    "embed": ("audiossl.cli.embed", "audio files to vectors, as npz, npy or csv"),
    "tokenize": ("audiossl.cli.tokenize", "audio files to discrete units of an encoder"),
    "describe": (
        "audiossl.cli.describe",
        "hours, rates and labels of a corpus; rates, layers and output of an encoder",
    ),
    "check": ("audiossl.cli.check", "property tests on any encoder"),
    "compare": (
        "audiossl.cli.compare",
        "paired differences between encoders, with intervals and tests",
    ),
    "retrieve": (
        "audiossl.cli.retrieve",
        "clips found by clips that share a label: recall@k and mAP, without training",
    ),
    "report": (
        "audiossl.cli.report",
        "a page of results, or of training pairs, from finished stages",
    ),
    "doctor": ("audiossl.cli.doctor", "what works here, and what to run if something does not"),
    "import": (
        "audiossl.cli.import_",
        "turn somebody else's checkpoint into a folder of this package",
    ),
    "export": (
        "audiossl.cli.export",
        "write an encoder for another tool: hf, onnx, torch, s3prl, hear, xares, mteb, ...",
    ),
}
"""Module behind each subcommand and its line of help, in the order of `--help`."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; exit code 2 and one line on a mistake of the user."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        code = exit_code("audiossl", lambda: _run(words))
        # Here, and not when the interpreter ends, a reader that left can still be noticed.
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader of a pipe left (as `head` does); what it did not want is not an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(words: list[str]) -> int:
    parser = _Parser(
        prog="audiossl", description="Self-supervised audio and speech representations."
    )
    parser.add_argument("--version", action="version", version=f"audiossl {audiossl.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    asked = next((word for word in words if not word.startswith("-")), "")
    if asked and asked not in COMMANDS:
        raise UserError(f"unknown command {asked!r}{did_you_mean(asked, COMMANDS)}")
    if asked:
        if any(word in HELP for word in words):
            replace_libraries()
        keep_freed_memory()
        module = importlib.import_module(COMMANDS[asked][0])
        module.add_arguments(commands.add_parser(asked, description=module.__doc__))
        return int(module.run(parser.parse_args(words)) or 0)
    for name, (_, line) in COMMANDS.items():
        commands.add_parser(name, help=line)
    parser.parse_args(words)
    return 0


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in a line, without the usage of everything."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see {self.prog} --help)")
