"""SPEAR's public checkpoints, read and written: icefall files and Hugging Face folders.

Both hold the tensors of `Zipformer` by the same names, behind prefixes ("model.", "model.model.",
"module.") or none. Beside them lie what training needed: a mask embedding, heads.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audiossl.atomic_files import read_json, read_object, write_json
from audiossl.errors import UserError
from audiossl.models.zipformer.config import ZipformerConfig
from audiossl.models.zipformer.model import Zipformer
from audiossl.nn.frames import Frames
from audiossl.nn.weights import load_exactly, read_weights, write_state, write_weights
from audiossl.pretrained.spear_config import (
    config_from_public,
    config_from_shapes,
    public_config,
)

ENCODER = ("encoder_embed.", "encoder.")
"""How names of the encoder's tensors begin."""
EXTRAS = ("mask_emb", "audio_tagging_proj.", "codebook_loss_net.", "codebook_loss_heads.")
"""How names of what training needs beside the encoder begin."""
EXTRAS_FILE = "extras.safetensors"
"""Where they lie in a folder of this package."""
PREFIX = re.compile(r"^(?:model\.|module\.)+")
"""What wrappers put before names."""
HUGGING_FACE_PREFIX = "model.model."
"""Prefix in written folders where nothing else is asked for."""


@dataclass(frozen=True)
class SpearCheckpoint:
    """What a public checkpoint holds."""

    config: ZipformerConfig
    """Config of the encoder: written beside the weights, or inferred from their shapes."""
    weights: dict[str, Tensor]
    """Tensors of the encoder, by the names that `Zipformer` gives them, in their own types."""
    extras: dict[str, Tensor]
    """Other tensors: mask embedding, heads."""
    prefixes: Mapping[str, str] = field(default_factory=dict)
    """Prefix that was removed from each name, where there was one."""

    def with_dtype(self, dtype: torch.dtype) -> "SpearCheckpoint":
        """Return a copy with weights of another type."""
        weights = {name: value.to(dtype) for name, value in self.weights.items()}
        return replace(self, weights=weights)


def load(place: str) -> Zipformer:
    """Load an encoder for `load_encoder("spear:<folder or file>")`; weights become fp32.

    Args:
        place: A folder with config.json and safetensors, a folder with one icefall file, or a file.

    Raises:
        UserError: Nothing of the kind is there; tensors are missing, unknown, mis-shaped or not
            finite; the file would run code.
    """
    checkpoint = read_checkpoint(Path(place))
    encoder = Zipformer(checkpoint.config)
    load_exactly(encoder, checkpoint.weights, place)
    return encoder


def public_outputs(frames: Frames) -> dict[str, Any]:
    """Name an encoder's output as the authors' `SpearModel` does.

    Returns:
        encoder_out: (batch, frames, dim); encoder_out_lens: (batch,); hidden_states: a list of
        (batch, frames at 50 Hz, dim), one for each layer, which older code of theirs calls
        intermediate_hidden_states.
    """
    return {
        "encoder_out": frames.vectors,
        "encoder_out_lens": frames.lengths,
        "hidden_states": list(frames.layers),
        "intermediate_hidden_states": list(frames.layers),
    }


def read_checkpoint(place: Path) -> SpearCheckpoint:
    """Read a public checkpoint, whatever its form.

    Args:
        place: A folder or a file, as in `load`.

    Raises:
        UserError: As `load`, but for the fit of weights and network.
    """
    named, written = _read_tensors(place)
    prefixes, tensors = _without_prefixes(named, place)
    weights = {name: value for name, value in tensors.items() if name.startswith(ENCODER)}
    extras = {name: value for name, value in tensors.items() if name.startswith(EXTRAS)}
    unknown = sorted(tensors.keys() - weights.keys() - extras.keys())
    if unknown:
        raise UserError(
            f"{place}: {len(unknown)} unknown tensors ({', '.join(unknown[:3])}): expected names "
            f"that begin with {', '.join(ENCODER + EXTRAS)}"
        )
    config = (
        config_from_shapes(weights, str(place))
        if written is None
        else config_from_public(written, str(place))
    )
    return SpearCheckpoint(config, weights, extras, prefixes)


def write_icefall(path: Path, checkpoint: SpearCheckpoint) -> None:
    """Write {"model": tensors} as icefall exports it, whole or not at all.

    The config lies beside the model, where other readers pass it over: shapes do not tell it all.
    """
    config = public_config(checkpoint.config)
    write_state(path, {"model": _named(checkpoint, ""), "config": config})


def write_hugging_face(folder: Path, checkpoint: SpearCheckpoint) -> None:
    """Write config.json and model.safetensors; the config comes last."""
    state = _named(checkpoint, HUGGING_FACE_PREFIX)
    write_weights(folder / "model.safetensors", state, {"format": "pt"})
    write_json(folder / "config.json", public_config(checkpoint.config))


def _named(checkpoint: SpearCheckpoint, prefix: str) -> dict[str, Tensor]:
    """Name all tensors as they were named where they come from, or with `prefix`."""
    tensors = {**checkpoint.weights, **checkpoint.extras}
    return {
        checkpoint.prefixes.get(name, prefix) + name: value.detach().cpu().contiguous()
        for name, value in tensors.items()
    }


def _read_tensors(place: Path) -> tuple[dict[str, Tensor], Mapping[str, Any] | None]:
    """Read all named tensors, and the config that lies beside them."""
    if not place.is_dir():
        content = read_weights(place)
        model = _model(content, place)
        written = content.get("config") if "model" in content else None
        return model, written if isinstance(written, Mapping) else None
    config = place / "config.json"
    files = _weight_files(place)
    parts = [_model(read_weights(file), file) for file in files]
    tensors = {name: value for part in parts for name, value in part.items()}
    return tensors, read_object(config) if config.exists() else None


def _weight_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.exists():
        return [folder / name for name in sorted(set(read_json(index)["weight_map"].values()))]
    if (folder / "model.safetensors").exists():
        return [folder / "model.safetensors"]
    files = sorted(folder.glob("*.pt"))
    if len(files) != 1:
        other = f"{len(files)} .pt files" if files else "no .pt file"
        raise UserError(
            f"{folder}: no model.safetensors, and {other}: give a Hugging Face folder, or one file"
        )
    return files


def _model(content: Any, place: Path) -> dict[str, Tensor]:
    """Take the model out of an icefall export, of a training checkpoint, or of nothing."""
    state = content.get("model", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not state:
        raise UserError(f'{place}: expected tensors by name, or {{"model": tensors by name}}')
    strangers = [
        str(name)
        for name, value in state.items()
        if not (isinstance(name, str) and isinstance(value, Tensor))
    ]
    if strangers:
        raise UserError(f"{place}: {strangers[0]!r} is no tensor: not a SPEAR checkpoint")
    return dict(state)


def _without_prefixes(
    named: Mapping[str, Tensor], place: Path
) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Take what wrappers put before names off; returns it, and the tensors by what is left."""
    prefixes: dict[str, str] = {}
    tensors: dict[str, Tensor] = {}
    for full, value in named.items():
        name = PREFIX.sub("", full)
        if name in tensors:
            raise UserError(f"{place}: {name} is in it twice, behind different prefixes")
        tensors[name], prefixes[name] = value, full.removesuffix(name)
    if not any(name.startswith(ENCODER) for name in tensors):
        first = ", ".join(sorted(named)[:3])
        raise UserError(f"{place}: no tensor of the encoder in it (but {first}): not of SPEAR")
    return prefixes, tensors
