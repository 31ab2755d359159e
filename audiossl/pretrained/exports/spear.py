"""SPEAR's public forms: a file that ends in .pt as icefall exports it, or a Hugging Face folder."""

from pathlib import Path

from audiossl.errors import UserError
from audiossl.models.zipformer.model import Zipformer
from audiossl.nn.weights import read_weights
from audiossl.pretrained import spear
from audiossl.pretrained.certificate import Difference, compare_encoders
from audiossl.pretrained.exports.forms import Export

USE = """
    audiossl.load_encoder("spear:<this folder>")

or as the authors' own code loads its checkpoints.
"""


def write(place: Path, export: Export) -> list[Difference]:
    """Write a Zipformer, read it back and compare.

    Raises:
        UserError: The encoder is another network.
    """
    encoder = export.encoder
    if not isinstance(encoder, Zipformer):
        raise UserError(
            f"{export.source}: a {type(encoder).__name__}, and SPEAR's form is for a Zipformer"
        )
    checkpoint = _checkpoint(export.source, encoder)
    if export.dtype:
        checkpoint = checkpoint.with_dtype(export.dtype)
    write_form = spear.write_icefall if place.suffix == ".pt" else spear.write_hugging_face
    write_form(place, checkpoint)
    print(f"{len(checkpoint.weights)} tensors, and {len(checkpoint.extras)} beside them")  # noqa: T201
    return compare_encoders(encoder, spear.load(str(place)).eval())


def _checkpoint(source: str, encoder: Zipformer) -> spear.SpearCheckpoint:
    """Take a public checkpoint as it was read, and any other encoder as it is."""
    kind, _, place = source.partition(":")
    if kind == "spear":
        return spear.read_checkpoint(Path(place))
    path = Path(source) / spear.EXTRAS_FILE
    extras = read_weights(path) if path.exists() else {}
    return spear.SpearCheckpoint(encoder.config, encoder.state_dict(), extras)
