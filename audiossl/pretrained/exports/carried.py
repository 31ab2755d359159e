"""An encoder beside a file of Python that loads it: what benchmarks are given.

These files import this package, so that benchmarks get what `embed` computes, windows, levels and
long recordings included.
"""

from pathlib import Path
from typing import get_args

from audiossl.atomic_files import read_object, write_text
from audiossl.models.build import EncoderConfig
from audiossl.models.encoder import FeatureEncoder
from audiossl.pretrained import own
from audiossl.pretrained.exports.forms import Export
from audiossl.pretrained.sources import parse_source, split_sources

FOLDER = "encoder"
"""Where it lies beside the file."""


def write_beside(place: Path, files: dict[str, str], export: Export) -> str:
    """Write an encoder into `place/encoder`, if this package writes it, and files that load it.

    In the files, SOURCE stands for the expression that `load_encoder` takes, and HERE for the
    folder. Encoders of other packages stay where they are, and are named.

    Args:
        place: Folder, which is made.
        files: Content of each file by its name; SOURCE in it is replaced.
        export: The encoder.

    Returns:
        The name by which `load_encoder` finds the encoder.
    """
    place.mkdir(parents=True)
    if is_own(export.encoder):
        own.write_encoder(place / FOLDER, export.encoder, provenance_of(export.source))
        source, name = f'str(Path(__file__).with_name("{FOLDER}"))', str(place / FOLDER)
    else:
        name = "+".join(map(_absolute, split_sources(export.source)))
        source = repr(name)
    for file, content in files.items():
        write_text(place / file, content.replace("SOURCE", source))
    return name


def is_own(encoder: object) -> bool:
    """Whether this package can write an encoder as a folder."""
    if not isinstance(encoder, FeatureEncoder):
        return False
    return encoder.user_config is not None or isinstance(encoder.config, get_args(EncoderConfig))


def provenance_of(source: str) -> dict[str, object]:
    """Say of which encoder it is a copy, and how that one came about, if it says so."""
    config = Path(parse_source(source).place) / own.CONFIG
    before = read_object(config).get("provenance") if config.is_file() else None
    return {"exported_from": source, **(before if isinstance(before, dict) else {})}


def _absolute(part: str) -> str:
    """Name the encoder so that it is found from any working folder."""
    source = parse_source(part)
    layer = f"#{source.layer}" if source.layer else ""
    path = Path(source.place)
    place = str(path.resolve()) if source.place and path.exists() else source.place
    return f"{source.kind}:{place}{layer}"
