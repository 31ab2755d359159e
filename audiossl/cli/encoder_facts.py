"""What `audiossl describe` says of an encoder: rates, dimensions, layers, and what it gives."""

from pathlib import Path
from typing import Any

import torch

from audiossl.configs import plain
from audiossl.models.encoder import presentation_of
from audiossl.pretrained.identity import encoder_identity
from audiossl.pretrained.load import load_encoder
from audiossl.pretrained.own import CONFIG, WEIGHTS
from audiossl.pretrained.sources import ALIASES, SCHEMES, SUFFIXES


def names_encoder(path: str) -> bool:
    """Whether a path of `describe` is an encoder: kind:place, or what this package wrote.

    >>> names_encoder("mfcc:"), names_encoder("clips/")
    (True, False)
    """
    if Path(path.partition("?")[0]).suffix in SUFFIXES:
        return True
    folder = Path(path if Path(path).exists() else path.partition("#")[0])
    if folder.exists():
        return (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file()
    return path.partition(":")[0] in (*SCHEMES, *ALIASES) and ":" in path


def encoder_facts(source: str) -> dict[str, Any]:
    """Load an encoder and list what a user of it must know, as JSON can hold it."""
    encoder: Any = load_encoder(source)
    with torch.inference_mode():
        second = torch.zeros(1, encoder.sample_rate)
        frames = encoder(second, torch.tensor([encoder.sample_rate]))
    return {
        "encoder": source,
        "network": type(encoder).__name__,
        "parameters": sum(parameter.numel() for parameter in encoder.parameters()),
        "sample_rate": encoder.sample_rate,
        "frame_rate": round(float(encoder.frame_rate), 6),
        "dim": encoder.dim,
        "clip_dim": frames.clip.shape[1],
        "layers": [layer.shape[2] for layer in frames.layers],
        "layer_convention": encoder.layer_convention,
        "presentation": plain(presentation_of(encoder)),
        "identity": encoder_identity(encoder),
    }


def as_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Write the facts as rows of a table, with their units."""
    rate, dims = facts["frame_rate"], facts["layers"]
    frames = f"{rate:g} Hz (one every {1000 / rate:g} ms), " if rate else "none, "
    layers = f"{len(dims)} of {' or '.join(map(str, sorted(set(dims))))} values" if dims else "none"
    shown = ", ".join(f"{k} {v}" for k, v in facts["presentation"].items() if k != "sample_rate")
    return [
        ("encoder", facts["encoder"]),
        ("network", f"{facts['network']}, {facts['parameters']:,} parameters"),
        ("waveforms", f"{facts['sample_rate'] / 1000:g} kHz"),
        ("frames", f"{frames}{facts['dim']} values"),
        ("clip vector", f"{facts['clip_dim']} values"),
        ("layers", layers),
        ("output", facts["layer_convention"]),
        ("presentation", shown),
        ("identity", facts["identity"]),
    ]
