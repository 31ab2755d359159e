"""Check what every encoder promises, on any encoder: padding, lengths, silence, save and load.

Own encoders, imported ones, or a class of yours: python:package.module:Class. Exit code 1 if a
property does not hold.

example: audiossl check exp/pretrain
"""

import argparse
import json
from dataclasses import asdict

from audiossl.cli.columns import columns
from audiossl.cli.terminal import as_is
from audiossl.distributed import choose_device
from audiossl.models.properties import Finding, check_encoder
from audiossl.pretrained.load import load_encoder

_MARKS = {True: "ok", False: "FAILS", None: "measured"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    as_is(parser)
    parser.add_argument("encoder", help="folder of ours, or kind:path (python:module:Class)")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Check and print; 1 if something does not hold."""
    encoder = load_encoder(arguments.encoder).to(choose_device(arguments.device))
    findings = list(check_encoder(encoder))
    if arguments.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        print(columns([_row(finding) for finding in findings]))
        failed = sum(finding.holds is False for finding in findings)
        print(f"{arguments.encoder}: {failed or 'no'} of {len(findings)} properties fail")
    return int(any(finding.holds is False for finding in findings))


def _row(finding: Finding) -> tuple[str, str, str]:
    return _MARKS[finding.holds], finding.name, finding.details
