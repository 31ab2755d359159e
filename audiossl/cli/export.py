"""Write an encoder in the form of another tool, read it back, and certify that it is the same.

What is written are folders, each with a card, but for SPEAR's form: a name that ends in .pt is
written as icefall exports a model, {"model": tensors}.

example: audiossl export exp/cola models/cola-onnx --to onnx
"""

import argparse
from pathlib import Path

import torch

from audiossl.atomic_files import atomic_draft
from audiossl.cli.terminal import as_is
from audiossl.errors import UserError
from audiossl.pretrained.certificate import certificate, check_same
from audiossl.pretrained.exports.card import write_card
from audiossl.pretrained.exports.forms import FORMS, Export, writer_of
from audiossl.pretrained.load import load_encoder

TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    as_is(parser)
    parser.epilog = "forms:\n" + "\n".join(f"  {name:9} {one.help}" for name, one in FORMS.items())
    parser.add_argument("encoder", help="what to export, as load_encoder names it")
    parser.add_argument("output", type=Path, help="a folder; for SPEAR's form, or a .pt file")
    parser.add_argument(
        "--to", default="spear", metavar="FORM", help="one of the forms below; default %(default)s"
    )
    parser.add_argument("--dtype", choices=TYPES, help="type of the weights (default: as they are)")
    parser.add_argument(
        "--clips", nargs="+", default=[], metavar="AUDIO", help="audio, for the form features"
    )


def run(arguments: argparse.Namespace) -> None:
    """Export, load again, compare."""
    output: Path = arguments.output
    if output.exists():
        raise UserError(f"{output}: exists already: remove it, or choose another name")
    export = Export(
        arguments.encoder,
        load_encoder(arguments.encoder),
        TYPES.get(arguments.dtype),
        tuple(arguments.clips),
        output.resolve(),
    )
    write = writer_of(arguments.to, export)
    with atomic_draft(output) as draft:
        differences = write(draft, export)
        check_same(differences, arguments.encoder)
        if draft.is_dir():
            write_card(draft, arguments.to, export, differences)
    print(certificate(differences))
    print(f"{output}: {arguments.to}, of {arguments.encoder}")
