"""Embeddings of a corpus, computed once: pooled vectors of every layer asked for, on disk.

They are kept by what they are made of: a key over the content of the encoder, of the audio, of the
windows and of the pooling. A file that carries the key is what a new computation would give.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from audiossl.audio.resampling import resample_blocks
from audiossl.configs import plain
from audiossl.data.corpus import Corpus
from audiossl.data.reading import SAMPLE_RATE
from audiossl.digests import digest_of_json
from audiossl.errors import UserError
from audiossl.models.batching import Batching, encode_all
from audiossl.models.encoder import Encoder
from audiossl.nn.digests import digest_of_tensors
from audiossl.nn.frames import Frames
from audiossl.nn.pooling import masked_max, masked_mean, masked_mean_std
from audiossl.nn.weights import read_weights, write_weights
from audiossl.probing.probe import Examples

FORMAT = 1
"""Counted up when the same settings would give other numbers."""
ROWS = "rows"
"""The tensor that says how many rows each cut has."""
SEGMENTS = "segments/"
"""What names of tensors begin with that are of segments."""
_POOLS = {"mean": masked_mean, "mean_std": masked_mean_std, "max": masked_max}


@dataclass(frozen=True, kw_only=True)
class EmbeddingConfig:
    """What is kept of each cut."""

    layers: tuple[str, ...] = ("clip",)
    """What is pooled: "clip" is the encoder's own clip vector, "output" its frames, "all" the
    frames of every layer and the output; layers alone by number, "0" the first, "-1" the last."""
    statistics: tuple[Literal["mean", "mean_std", "max"], ...] = ("mean",)
    """How the frames of output and layers are pooled; each gives an embedding of its own."""
    window: float | None = None
    """Seconds: cuts are embedded in windows of this length; None: whole."""
    hop: float | None = None
    """Seconds from one window to the next; by default a window's."""
    padded: bool = False
    """A cut shorter than a window lies in the middle of silence, as crops of pretraining do, and
    what is left at the end of a longer one is a window that ends with it. Otherwise a shorter cut
    is embedded as it is, and a rest is left out."""
    storage: Literal["float32", "float16"] = "float32"
    """Type of the numbers on disk."""
    segments: str | None = None
    """A label of timed segments ("0.51-0.60 e|0.60-0.76 g"), such as phones: each is embedded, too,
    by the mean of the frames in it, for tasks with `segments: true`."""


def embed_cuts(
    corpus: Corpus,
    cuts: Iterable[int],
    encoder: Encoder,
    config: EmbeddingConfig,
    *,
    device: torch.device | None = None,
    batching: Batching | None = None,
) -> dict[str, Tensor]:
    """Embed cuts of a corpus.

    Returns:
        For each name ("clip", "output.mean", "layer3.max") a tensor (rows, dim), cut after cut and
        window after window; and `ROWS`, how many rows each cut has.

    Raises:
        UserError: The encoder has not the layers that are asked for, or a number is not finite.
    """
    counts: list[int] = []

    def windows() -> Iterator[Float[np.ndarray, " samples"]]:
        for cut in cuts:
            waveform = at_rate(corpus.waveform(cut), encoder.sample_rate)
            pieces = cut_windows(waveform, config, encoder.sample_rate)
            counts.append(len(pieces))
            yield from pieces

    rows: dict[str, list[Tensor]] = {}
    kept = encode_all(
        encoder, windows(), lambda frames: pooled(frames, config), device=device, batching=batching
    )
    for vectors in kept:
        for name, vector in vectors.items():
            rows.setdefault(name, []).append(vector)
    tensors = {name: torch.stack(parts) for name, parts in rows.items()}
    storage = torch.float16 if config.storage == "float16" else torch.float32
    stored = {name: tensor.to(storage) for name, tensor in tensors.items()}
    _check_finite(stored, config)
    return {**stored, ROWS: torch.tensor(counts, dtype=torch.int64)}


def pooled(frames: Frames, config: EmbeddingConfig) -> dict[str, list[Tensor]]:
    """Pool frames to the vectors that are asked for."""
    parts: dict[str, Tensor] = {}
    for wanted in config.layers:
        parts.update(layers_of(frames, wanted))
    found: dict[str, list[Tensor]] = {}
    if "clip" in config.layers:
        found["clip"] = list(frames.clip.float())
    for name, vectors in parts.items():
        for statistic in config.statistics:
            pool = _POOLS[statistic]
            lengths = frames.lengths if name == "output" else frames.lengths_of_layers
            found[f"{name}.{statistic}"] = list(pool(vectors.float(), lengths))
    return found


def cut_windows(
    waveform: Float[np.ndarray, " samples"], config: EmbeddingConfig, sample_rate: int
) -> list[Float[np.ndarray, "_"]]:
    """Cut a waveform into whole windows; `EmbeddingConfig.padded` says what becomes of the rest."""
    if config.window is None:
        return [waveform]
    size = round(config.window * sample_rate)
    hop = round((config.hop or config.window) * sample_rate)
    missing = max(0, size - len(waveform))
    if config.padded and missing:
        waveform = np.pad(waveform, (missing // 2, missing - missing // 2))
    starts = list(range(0, max(1, len(waveform) - size + 1), hop))
    if config.padded and starts[-1] + size < len(waveform):
        starts.append(len(waveform) - size)
    return [waveform[start : start + size] for start in starts]


def at_rate(waveform: Float[np.ndarray, " samples"], rate: int) -> Float[np.ndarray, " samples"]:
    """Resample a waveform of a corpus to what an encoder takes."""
    if rate == SAMPLE_RATE:
        return waveform
    blocks = list(resample_blocks([waveform[:, None]], SAMPLE_RATE, rate))
    return np.concatenate(blocks)[:, 0]


def encoder_digest(encoder: nn.Module) -> str:
    """Identify an encoder by its structure, its config and the content of its tensors."""
    config = plain(getattr(encoder, "config", None))
    state = {**dict(encoder.named_parameters()), **dict(encoder.named_buffers())}
    return digest_of_json(
        [type(encoder).__qualname__, str(encoder), config, digest_of_tensors(state)]
    )


def content_key(encoder: str, audio: str, config: EmbeddingConfig, precision: str) -> str:
    """Name embeddings by everything that they depend on.

    Args:
        encoder: Its digest.
        audio: What identifies the content of the audio.
        config: Windows and pooling.
        precision: In which the encoder computed.
    """
    return digest_of_json([FORMAT, encoder, audio, plain(config), precision])


def write_embeddings(path: Path, tensors: Mapping[str, Tensor], key: str) -> None:
    """Write the embeddings of a shard, whole or not at all."""
    write_weights(path, tensors, {"key": key})


@dataclass(frozen=True)
class Embeddings:
    """All embeddings of a corpus under one encoder."""

    vectors: dict[str, Float[np.ndarray, "rows _"]]
    """By name, cut after cut."""
    starts: Int[np.ndarray, " cuts_and_end"]
    """Where the rows of each cut begin."""
    segments: "Embeddings | None" = None
    """Those of timed segments, if there are any: a row a segment."""

    def examples(self, name: str, cuts: Int[np.ndarray, " items"], targets: np.ndarray) -> Examples:
        """Take the rows of some cuts.

        Args:
            name: Which embedding.
            cuts: Cuts, in any order.
            targets: (items, classes), of these cuts.
        """
        counts = self.counts(cuts)
        items = np.repeat(np.arange(len(cuts)), counts)
        within = np.arange(len(items)) - np.repeat(np.cumsum(counts) - counts, counts)
        rows = self.starts[cuts][items] + within
        return Examples(self.vectors[name][rows].astype(np.float32), items, targets)

    def counts(self, cuts: Int[np.ndarray, " items"]) -> Int[np.ndarray, " items"]:
        """Count the rows of some cuts."""
        return self.starts[cuts + 1] - self.starts[cuts]

    def of_segments(
        self,
        name: str,
        cuts: Int[np.ndarray, " items"],
        places: Int[np.ndarray, " items"],
        targets: np.ndarray,
    ) -> Examples:
        """Take one row of each of some cuts, which may be there many times: the segment's."""
        vectors = self.vectors[name][self.starts[cuts] + places].astype(np.float32)
        return Examples(vectors, np.arange(len(cuts)), targets)

    def of_cuts(self, name: str) -> Float[np.ndarray, "cuts dim"]:
        """Average the windows of each cut."""
        cuts = np.arange(len(self.starts) - 1)
        everything = self.examples(name, cuts, np.zeros((len(cuts), 1), bool))
        return everything.averaged().vectors


def read_embeddings(paths: Sequence[Path]) -> Embeddings:
    """Read the shards of one encoder, in order.

    Raises:
        UserError: A file is missing or damaged.
    """
    shards: list[dict[str, Any]] = [read_weights(path) for path in paths]
    known = all(f"{SEGMENTS}{ROWS}" in shard for shard in shards)
    return replace(_joined(shards, ""), segments=_joined(shards, SEGMENTS) if known else None)


def _joined(shards: Sequence[Mapping[str, Any]], prefix: str) -> Embeddings:
    # A shard of which every cut was left out has no embeddings.
    names = {
        name: None
        for shard in shards
        for name in shard
        if name.startswith(prefix) and "/" not in name.removeprefix(prefix)
    }
    vectors = {
        name.removeprefix(prefix): torch.cat([s[name] for s in shards if name in s]).numpy()
        for name in names
    }
    counts = vectors.pop(ROWS)
    return Embeddings(vectors, np.concatenate([[0], np.cumsum(counts)]))


def layers_of(frames: Frames, wanted: str) -> dict[str, Tensor]:
    """Name the frames that `EmbeddingConfig.layers` asks for; "clip" has none.

    Raises:
        UserError: There is no such layer.
    """
    if wanted == "clip":
        return {}
    if wanted == "output":
        return {"output": frames.vectors}
    if wanted == "all":
        numbered = {f"layer{number}": layer for number, layer in enumerate(frames.layers)}
        return {**numbered, "output": frames.vectors}
    try:
        number = int(wanted)
        layer = frames.layers[number]
    except (ValueError, IndexError) as error:
        raise UserError(
            f"layers: {wanted!r} is not one of clip, output, all, or a number below "
            f"{len(frames.layers)}, which is how many layers this encoder has"
        ) from error
    return {f"layer{number % len(frames.layers)}": layer}


def _check_finite(tensors: Mapping[str, Tensor], config: EmbeddingConfig) -> None:
    bad = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        hint = "store float32" if config.storage == "float16" else "check the encoder's weights"
        raise UserError(f"embeddings {', '.join(bad)}: NaN or infinite values: {hint}")
