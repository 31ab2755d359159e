"""Export a Zipformer in SPEAR's public form, read it back, and certify that it is the same.

A name that ends in .pt is written as icefall exports a model, {"model": tensors}; anything else is
a folder as on the Hugging Face hub, with config.json and model.safetensors.

example: audiossl export exp/spear models/mine.pt
"""

import argparse
from pathlib import Path

import torch

from audiossl.atomic_files import atomic_draft
from audiossl.errors import UserError
from audiossl.models.zipformer.model import Zipformer
from audiossl.nn.weights import read_weights
from audiossl.pretrained import spear
from audiossl.pretrained.certificate import certificate, compare_encoders
from audiossl.pretrained.load import load_encoder

TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("encoder", help="what to export, as load_encoder names it")
    parser.add_argument("output", type=Path, help="a file that ends in .pt, or a folder")
    parser.add_argument("--dtype", choices=TYPES, help="type of the weights (default: as they are)")


def run(arguments: argparse.Namespace) -> None:
    """Export, load again, compare."""
    output: Path = arguments.output
    if output.exists():
        raise UserError(f"{output}: exists already: remove it, or choose another name")
    encoder = load_encoder(arguments.encoder)
    if not isinstance(encoder, Zipformer):
        raise UserError(
            f"{arguments.encoder}: a {type(encoder).__name__}, and SPEAR's form is for a Zipformer"
        )
    checkpoint = _checkpoint(arguments.encoder, encoder)
    if arguments.dtype:
        checkpoint = checkpoint.with_dtype(TYPES[arguments.dtype])
    write = spear.write_icefall if output.suffix == ".pt" else spear.write_hugging_face
    with atomic_draft(output) as draft:
        write(draft, checkpoint)
        findings = compare_encoders(encoder, spear.load(str(draft)).eval())
    print(certificate(findings))
    print(f"{output}: {len(checkpoint.weights)} tensors, and {len(checkpoint.extras)} beside them")


def _checkpoint(source: str, encoder: Zipformer) -> spear.SpearCheckpoint:
    """Take a public checkpoint as it was read, and any other encoder as it is."""
    kind, _, place = source.partition(":")
    if kind == "spear":
        return spear.read_checkpoint(Path(place))
    path = Path(source) / spear.EXTRAS_FILE
    extras = read_weights(path) if path.exists() else {}
    return spear.SpearCheckpoint(encoder.config, encoder.state_dict(), extras)
