"""Discrete units of audio: an encoder, a layer of it and a quantizer that belong together.

The folder of a quantizer says on whose frames it was trained: `frames_of.json` has the encoder's
name, layer, presentation and identity. An encoder of this package lies in it whole, so that the
folder can be moved; any other is looked for by its name. One that is not the same is refused,
because codes of another encoder's frames mean nothing and look like codes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int, Integer
from torch import Tensor, nn

from audiossl.atomic_files import read_json, read_object, write_json
from audiossl.audio.presentation import CHUNK
from audiossl.configs import plain
from audiossl.distributed import choose_device
from audiossl.errors import Skip, UserError
from audiossl.models.encoder import FeatureEncoder, presentation_of
from audiossl.pretrained.embed import embed_files
from audiossl.pretrained.identity import encoder_identity
from audiossl.pretrained.layer import LayerOf
from audiossl.pretrained.load import load_encoder
from audiossl.pretrained.own import write_encoder
from audiossl.pretrained.sounds import Clips
from audiossl.quantization.quantizer import CodebookQuantizer
from audiossl.quantization.storage import load_quantizer

FACTS, COPY, QUANTIZER = "frames_of.json", "encoder", "quantizer.safetensors"
FORMAT = 1


@dataclass(frozen=True)
class Tokenizer:
    """From waveforms to units."""

    encoder: nn.Module
    quantizer: CodebookQuantizer
    source: str
    """Name of the encoder that was loaded."""


@dataclass(frozen=True)
class Units:
    """Codes of clips."""

    paths: list[Path]
    """Files that could be read; for waveforms in memory, what messages call them."""
    codes: list[Integer[Tensor, "_ codebooks"]]
    """Codes of each, one row a frame."""
    frame_rate: float
    """Frames a second."""
    quantizer_id: str
    encoder: str
    """Name of the encoder."""
    layer_convention: str
    """Point of the network at which its frames are taken."""


def describe_frames(folder: Path, source: str, encoder: nn.Module) -> None:
    """Write whose frames a folder holds, and the encoder itself if it is one of this package."""
    layer = encoder.layer if isinstance(encoder, LayerOf) else None
    inner = encoder.encoder if isinstance(encoder, LayerOf) else encoder
    if isinstance(inner, FeatureEncoder):
        (folder / COPY).mkdir(exist_ok=True)
        write_encoder(folder / COPY, inner, {"copy_of": source})
    whole: Any = encoder
    content = {
        "format": FORMAT,
        "encoder": source,
        "layer": layer,
        "identity": encoder_identity(encoder),
        "layer_convention": str(whole.layer_convention),
        "presentation": plain(presentation_of(encoder)),
    }
    write_json(folder / FACTS, content)


def load_tokenizer(folder: str | Path, encoder: str | None = None) -> Tokenizer:
    """Load a quantizer and the encoder whose frames it takes.

    Args:
        folder: Output of `recipes.spear.train_quantizer`; or a file of a quantizer, which needs
            `encoder`.
        encoder: Where the encoder lies now, as `load_encoder` names it; None: in the folder, or
            where it was.

    Raises:
        UserError: There is no quantizer, the encoder is not found, or is not the one whose frames
            the quantizer was trained on.
    """
    folder = Path(folder)
    quantizer = load_quantizer(folder / QUANTIZER if folder.is_dir() else folder)
    facts = _facts(folder)
    source = encoder or _source(folder, facts)
    loaded = load_encoder(source)
    whole: Any = loaded
    quantizer.check_dim(whole.dim)
    expected = facts.get("identity")
    if expected is not None and expected != (found := encoder_identity(loaded)):
        raise UserError(
            f"{folder}: its quantizer was trained on frames of {facts['encoder']} ({expected}), "
            f"and {source} is {found} (another layer, or other weights?): give the same one with "
            "--encoder"
        )
    presentation = plain(presentation_of(loaded))
    if facts.get("presentation", presentation) != presentation:
        raise UserError(
            f"{folder}: clips were presented to {facts['encoder']} as {facts['presentation']}, and "
            f"are to {source} as {presentation}: give the encoder of the quantizer with --encoder"
        )
    return Tokenizer(loaded, quantizer, source)


def tokenize(
    clips: Clips,
    quantizer: str | Path | Tokenizer,
    *,
    sample_rate: int | None = None,
    chunk: float = CHUNK,
    device: str = "auto",
    on_skip: Callable[[Skip], None] | None = None,
) -> Units:
    """Turn audio into discrete units: codes of an encoder's frames.

    Args:
        clips: Files or waveforms, as `embed` takes them.
        quantizer: Folder of a quantizer and its encoder, or what `load_tokenizer` gives.
        sample_rate: Rate of waveforms in memory, Hz; None: that of the encoder.
        chunk: Seconds that are encoded at once of longer clips.
        device: Where to compute: "auto" (an accelerator if there is one), "cpu", "cuda:1", ...
        on_skip: Called with the reason for each clip that has no units, which is then left out;
            without it the first one is raised.

    Raises:
        UserError: As `load_tokenizer` and `embed` do.
    """
    ready = quantizer if isinstance(quantizer, Tokenizer) else load_tokenizer(quantizer)
    coded = embed_files(
        clips,
        ready.encoder,
        sample_rate=sample_rate,
        frames=ready.quantizer.to(choose_device(device)).encode,
        chunk=chunk,
        device=device,
        on_skip=on_skip,
    )
    return Units(
        coded.paths,
        coded.values,
        coded.frame_rate,
        ready.quantizer.id,
        ready.source,
        coded.layer_convention,
    )


def without_repeats(
    codes: Integer[Tensor, "frames codebooks"],
) -> tuple[Integer[Tensor, "runs codebooks"], Int[Tensor, " runs"]]:
    """Merge frames that follow one another with the same codes.

    Returns:
        The codes of each run, and its number of frames.

    >>> units, counts = without_repeats(torch.tensor([[7], [7], [2], [7]]))
    >>> units.tolist(), counts.tolist()
    ([[7], [2], [7]], [2, 1, 1])
    """
    units, counts = torch.unique_consecutive(codes, dim=0, return_counts=True)
    return units, counts


def _facts(folder: Path) -> dict[str, Any]:
    """Read whose frames a quantizer takes; nothing for one that does not say it."""
    if (folder / FACTS).is_file():
        facts = read_object(folder / FACTS, encoder=str, identity=str, presentation=dict)
        if facts.get("format") != FORMAT:
            raise UserError(f"{folder / FACTS}: format {facts.get('format')}, expected {FORMAT}")
        return facts
    if (record := folder / "stage.json").is_file():  # written before there was such a file
        results = read_json(record).get("results") or {}
        return {"encoder": results.get("source"), "identity": results.get("teacher")}
    return {}


def _source(folder: Path, facts: dict[str, Any]) -> str:
    mark = f"#{facts['layer']}" if facts.get("layer") else ""
    if (folder / COPY / "config.json").is_file():
        return f"{folder / COPY}{mark}"
    if not facts.get("encoder"):
        raise UserError(
            f"{folder}: does not say on whose frames its quantizer was trained: name the encoder "
            "with --encoder"
        )
    return str(facts["encoder"])
