"""Encoders of this package on disk: `encoder.safetensors` and `config.json`, without the recipe."""

from pathlib import Path
from typing import Any

import torch

from audiossl.configs import from_plain, plain
from audiossl.errors import UserError
from audiossl.models.build import EncoderConfig, build_encoder
from audiossl.models.encoder import FeatureEncoder
from audiossl.nn.weights import load_exactly, read_weights, write_weights
from audiossl.whole import read_json, write_json

FORMAT = 1
WEIGHTS, CONFIG = "encoder.safetensors", "config.json"


def write_encoder(folder: Path, encoder: FeatureEncoder, provenance: dict[str, Any]) -> None:
    """Write an encoder; the config comes last, so that a folder with both is whole.

    Args:
        folder: Where to.
        encoder: The network, with the config it was built from.
        provenance: How it came about: recipe, method, steps, ...
    """
    write_weights(folder / WEIGHTS, encoder.state_dict(), {"format": "pt"})
    content = {"format": FORMAT, "encoder": plain(encoder.config), "provenance": provenance}
    write_json(folder / CONFIG, content)


def load(place: str) -> FeatureEncoder:
    """Load the encoder of a folder.

    Raises:
        UserError: There is none, it is of a newer format, or weights and config do not fit.
    """
    config = _read_config(place)
    encoder = build_encoder(config)
    weights = Path(place) / WEIGHTS
    load_exactly(encoder, read_weights(weights), str(weights))
    return encoder


def load_random(place: str) -> FeatureEncoder:
    """Build the encoder of a folder with fresh weights: the row that every table should have.

    Args:
        place: A folder, and, after a "#", the seed of the weights (0 by default).
    """
    folder, _, seed = place.partition("#")
    config = _read_config(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed or 0))
        return build_encoder(config)


def _read_config(place: str) -> EncoderConfig:
    path = Path(place) / CONFIG
    if not path.exists():
        finished = "" if Path(place).is_dir() else ", which is no folder"
        raise UserError(
            f"{place}{finished}: no {CONFIG} in it: give the output of a pretrain stage that has "
            "finished, or kind:path for other encoders"
        )
    content = read_json(path)
    if content.get("format", 0) > FORMAT or "encoder" not in content:
        raise UserError(
            f"{path}: format {content.get('format')} is not one this version reads (up to {FORMAT})"
        )
    config: EncoderConfig = from_plain(EncoderConfig, content["encoder"], str(path))
    return config
