"""Encoders of this package on disk: `encoder.safetensors` and `config.json`, without the recipe.

`config.json` also says how clips were presented to the encoder in pretraining; `models.description`
has the default for folders written before it did. Where it names a `base`, the tensors that the
folder lacks are those of that encoder, which comes with this package.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audiossl.atomic_files import read_object, write_json
from audiossl.digests import sha256_of
from audiossl.errors import UserError, did_you_mean
from audiossl.models.description import FILE, build_described, described
from audiossl.models.encoder import FeatureEncoder
from audiossl.nn.weights import load_exactly, read_weights, write_weights
from audiossl.pretrained.sources import SHIPPED

FORMAT = 1
WEIGHTS, CONFIG = "encoder.safetensors", "config.json"
DIGEST = "weights_sha256"
"""Key of the config: SHA-256 of the file of weights."""


def write_encoder(folder: Path, encoder: FeatureEncoder, provenance: dict[str, Any]) -> None:
    """Write an encoder; the config comes last, so that a folder with both is whole.

    Args:
        folder: Where to.
        encoder: The network, with the config it was built from.
        provenance: How it came about: recipe, method, steps, ...
    """
    write_weights(folder / WEIGHTS, encoder.state_dict(), {"format": "pt"})
    content = {"format": FORMAT, **described(encoder), "provenance": provenance}
    write_json(folder / CONFIG, content | {DIGEST: sha256_of(folder / WEIGHTS)})


def load(place: str) -> FeatureEncoder:
    """Load the encoder of a folder.

    Raises:
        UserError: There is none, it is of a newer format, weights and config do not fit, or the
            weights are not those that were written.
    """
    content = _read_content(place, Path(place) / CONFIG)
    encoder = build_described(content, str(Path(place) / CONFIG))
    weights = Path(place) / WEIGHTS
    check_digest(weights, content)
    state = _weights_of_base(content.get("base"), place) | read_weights(weights)
    load_exactly(encoder, state, str(weights))
    return encoder


def check_digest(weights: Path, content: dict[str, Any]) -> None:
    """Refuse weights of which a bit has flipped; configs of earlier versions do not tell.

    Args:
        weights: File of weights, beside its config.
        content: Of the config.

    Raises:
        UserError: The file has changed since the config was written.
    """
    expected = content.get(DIGEST)
    if expected is not None and weights.is_file() and sha256_of(weights) != expected:
        raise UserError(
            f"{weights}: not the weights that were written: the SHA-256 differs from that in "
            f"{CONFIG}; copy or make the file again (or, where you have changed it on purpose, "
            f"take {DIGEST} out of {CONFIG})"
        )


def _weights_of_base(base: Any, place: str) -> dict[str, Tensor]:
    """Read the weights that an encoder shares with one that comes with this package."""
    if base is None:
        return {}
    if base not in SHIPPED:
        raise UserError(f"{Path(place) / CONFIG}: base {base!r}: expected {' or '.join(SHIPPED)}")
    weights: dict[str, Tensor] = read_weights(SHIPPED[base] / WEIGHTS)
    return weights


def load_random(place: str) -> FeatureEncoder:
    """Build the encoder of a folder with fresh weights: the row that every table should have.

    Args:
        place: A folder, and, after a "#", the seed of the weights (0 by default).
    """
    folder, _, seed = place.partition("#")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(read_seed(seed or "0", f"random:{place}"))
        return _build(folder)


def read_seed(word: str, source: str) -> int:
    """Read the seed behind the "#" of a source.

    Raises:
        UserError: It is none.
    """
    if not (word.isascii() and word.isdecimal() and int(word) < 2**63):
        raise UserError(f"{source}: seed {word!r}: expected a whole number from 0, as in #7")
    return int(word)


def _build(place: str) -> FeatureEncoder:
    """Build the untrained encoder that the config of a folder describes."""
    path = Path(place) / CONFIG
    return build_described(_read_content(place, path), str(path))


def _read_content(place: str, path: Path) -> dict[str, Any]:
    if not path.exists():
        if (Path(place) / FILE).exists():
            raise UserError(
                f"{place}: its pretraining has not finished: run the stage again, which goes on, "
                f"or load its last checkpoint with run:{place}"
            )
        finished = ""
        if not Path(place).is_dir():
            known = ", ".join(f"audiossl:{name}" for name in SHIPPED)
            finished = f", which is no folder{did_you_mean(place, SHIPPED)} (shipped: {known})"
        raise UserError(
            f"{place}{finished}: no {CONFIG} in it: give the output of a pretrain stage that has "
            "finished, or kind:path for other encoders"
        )
    content = read_object(path, encoder=dict)
    version = content.get("format", 0)
    if not isinstance(version, int) or version > FORMAT:
        raise UserError(
            f"{path}: format {content.get('format')} is not one this version reads (up to {FORMAT})"
        )
    return content
