"""Check what every encoder promises, on any encoder: padding, lengths, silence, save and load.

Own encoders, imported ones, or a class of yours: python:package.module:Class. Those of this package
are also exported, read back and compared. Exit code 1 if a property does not hold.

example: audiossl check exp/pretrain
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict

from audiossl.cli.columns import columns
from audiossl.cli.terminal import as_is
from audiossl.distributed import choose_device
from audiossl.models.properties import Finding, check_encoder
from audiossl.pretrained.exports.carried import is_own
from audiossl.pretrained.exports.forms import FORMS
from audiossl.pretrained.exports.parity import QUICK, check_exports
from audiossl.pretrained.load import load_encoder

_MARKS = {True: "ok", False: "FAILS", None: "noted"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    as_is(parser)
    parser.add_argument("encoder", help="folder of ours, or kind:path (python:module:Class)")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument(
        "--forms", nargs="*", metavar="FORM",
        help=f"forms of export to check ({', '.join(FORMS)}); default: {' and '.join(QUICK)} for "
        "encoders of this package; onnx and torch take minutes",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Check and print; 1 if something does not hold."""
    findings = list(_findings(arguments))
    if arguments.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        print(columns([_row(finding) for finding in findings]))
        failed = sum(finding.holds is False for finding in findings)
        print(f"{arguments.encoder}: {failed or 'no'} of {len(findings)} properties fail")
    return int(any(finding.holds is False for finding in findings))


def _findings(arguments: argparse.Namespace) -> Iterator[Finding]:
    encoder = load_encoder(arguments.encoder)
    forms = arguments.forms
    if forms is None:
        forms = QUICK if is_own(encoder) else ()
    # Before the encoder goes to a device: what is written is read back on the CPU.
    exports = list(check_exports(arguments.encoder, encoder, forms))
    yield from check_encoder(encoder.to(choose_device(arguments.device)))
    yield from exports


def _row(finding: Finding) -> tuple[str, str, str]:
    return _MARKS[finding.holds], finding.name, finding.details
