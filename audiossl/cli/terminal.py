"""What subcommands say, and how their help looks."""

import argparse
import sys


def as_is(parser: argparse.ArgumentParser) -> None:
    """Keep the line breaks of a description: it ends with an example."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def warn(message: str) -> None:
    """Say a line beside the output."""
    print(f"audiossl: {message}", file=sys.stderr)
