"""Import an encoder from elsewhere into a folder of this package, and certify that it is the same.

The folder holds encoder.safetensors and config.json; what a checkpoint held beyond the encoder
(mask embedding, heads) goes to extras.safetensors.

example: audiossl import spear:models/spear-base exp/spear-base
"""

import argparse
from pathlib import Path

from audiossl.errors import UserError
from audiossl.models.encoder import FeatureEncoder
from audiossl.nn.weights import write_weights
from audiossl.pretrained import own, spear
from audiossl.pretrained.certificate import certificate, compare_encoders
from audiossl.pretrained.load import load_encoder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("source", help='what to import, as load_encoder names it: "spear:<path>"')
    parser.add_argument("folder", type=Path, help="where to write; must not hold an encoder yet")


def run(arguments: argparse.Namespace) -> None:
    """Import, load again, compare."""
    source: str = arguments.source
    folder: Path = arguments.folder
    if (folder / own.CONFIG).exists():
        raise UserError(f"{folder}: holds {own.CONFIG} already: remove it, or name another folder")
    encoder = load_encoder(source)
    if not isinstance(encoder, FeatureEncoder):
        raise UserError(f"{source}: {type(encoder).__name__} is not a network of this package")
    kind, _, place = source.partition(":")
    if kind == "spear":
        extras = spear.read_checkpoint(Path(place)).extras
        if extras:
            write_weights(folder / spear.EXTRAS_FILE, extras)
    own.write_encoder(folder, encoder, {"imported_from": source})
    again = own.load(str(folder)).eval()
    print(certificate(compare_encoders(encoder, again)))
    print(f"{folder}: {sum(p.numel() for p in encoder.parameters())} parameters")
