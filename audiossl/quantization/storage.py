"""Quantizers on disk: one safetensors file that says what it holds, checked by its id when read."""

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open

from audiossl.errors import UserError, did_you_mean
from audiossl.nn.weights import load_exactly, read_weights, write_weights
from audiossl.quantization.direct_sum import DirectSumQuantizer
from audiossl.quantization.ema_codebook import EmaCodebook
from audiossl.quantization.kmeans import KMeansQuantizer
from audiossl.quantization.quantizer import CodebookQuantizer
from audiossl.quantization.random_projection import RandomProjectionQuantizer
from audiossl.quantization.residual import ResidualQuantizer
from audiossl.quantization.standardized import Standardized

KINDS: dict[str, type[CodebookQuantizer]] = {
    quantizer.kind: quantizer
    for quantizer in (
        DirectSumQuantizer,
        KMeansQuantizer,
        ResidualQuantizer,
        EmaCodebook,
        RandomProjectionQuantizer,
    )
}
"""`kind` -> class, for those whose settings are their arguments."""


def write_quantizer(path: str | Path, quantizer: CodebookQuantizer) -> None:
    """Write a quantizer, whole or not at all."""
    metadata = {
        "quantizer": quantizer.kind,
        "settings": json.dumps(quantizer.settings()),
        "quantizer_id": quantizer.id,
    }
    write_weights(Path(path), quantizer.state_dict(), metadata)


def load_quantizer(path: str | Path) -> CodebookQuantizer:
    """Read a quantizer that is ready to encode.

    Args:
        path: A file that `write_quantizer` wrote, or a state dict of the public
            `multi_quantization` library (.pt).

    Raises:
        UserError: The file is missing, damaged, not a quantizer, or would run code.
    """
    path = Path(path)
    state, metadata = read_weights(path), _metadata(path)
    if not metadata:
        return DirectSumQuantizer.from_reference(state.get("model", state))
    quantizer = build_quantizer(metadata["quantizer"], json.loads(metadata["settings"]))
    load_exactly(quantizer, state, str(path))
    if quantizer.id != metadata["quantizer_id"]:
        raise UserError(
            f"{path}: holds quantizer {quantizer.id}, but says it is {metadata['quantizer_id']}: "
            "the file is damaged; train or copy it again"
        )
    return quantizer.eval()


def build_quantizer(kind: str, settings: dict[str, Any]) -> CodebookQuantizer:
    """Make an untrained quantizer.

    Args:
        kind: One of `KINDS`, or "standardized".
        settings: What `settings()` of such a quantizer gave.

    Raises:
        UserError: The kind is unknown.

    Example:
        >>> import torch
        >>> settings = {"dim": 4, "codebook_size": 8}
        >>> build_quantizer("kmeans", settings).encode(torch.randn(6, 4)).shape
        torch.Size([6, 1])
    """
    if kind == Standardized.kind:
        return Standardized(build_quantizer(**settings["inner"]))
    if kind not in KINDS:
        raise UserError(
            f"unknown kind of quantizer {kind!r}{did_you_mean(kind, KINDS)} "
            f"(known: {', '.join(KINDS)}, {Standardized.kind})"
        )
    return KINDS[kind](**settings)


def _metadata(path: Path) -> dict[str, str]:
    if path.suffix != ".safetensors":
        return {}
    with safe_open(path, "pt") as file:
        return {k: v for k, v in (file.metadata() or {}).items() if k != "format"}
