"""What subcommands say, and how their help looks."""

import argparse
import sys


def as_is(parser: argparse.ArgumentParser) -> None:
    """Keep the line breaks of a description: it ends with an example."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def warn(message: str) -> None:
    """Say a line beside the output."""
    print(f"audiossl: {message}", file=sys.stderr)


def count(word: str) -> int:
    """Read a number that is 1 at least, as the type of an option."""
    if not word.isdecimal() or not 1 <= int(word) < 2**31:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, found {word!r}")
    return int(word)
