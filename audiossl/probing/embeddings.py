"""Embeddings of a corpus, computed once: pooled vectors of every layer asked for, on disk.

They are kept by what they are made of: a key over the content of the encoder, of the audio, of the
windows and of the pooling. A file that carries the key is what a new computation would give.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from audiossl.audio.presentation import CHUNK, Presentation, present
from audiossl.audio.resampling import resample_waveform
from audiossl.configs import Positive, plain
from audiossl.data.corpus import Corpus
from audiossl.data.reading import SAMPLE_RATE
from audiossl.digests import digest_of_json
from audiossl.errors import Skip, UserError
from audiossl.models.batching import Batching, encode_all
from audiossl.models.encoder import Encoder, presentation_of
from audiossl.nn.digests import digest_of_tensors
from audiossl.nn.frames import Frames
from audiossl.nn.pooling import POOLS
from audiossl.nn.weights import read_weights, write_weights
from audiossl.probing.frame_tracks import Track, tracks_of
from audiossl.probing.probe import Examples

FORMAT = 2
"""Counted up when the same settings would give other numbers."""
ROWS = "rows"
"""The tensor that says how many rows each cut has."""
LENGTHS = "lengths"
"""Key of the number of frames of a window, which is looked at and not stored."""
SEGMENTS = "segments/"
"""What names of tensors begin with that are of segments."""


@dataclass(frozen=True, kw_only=True)
class EmbeddingConfig:
    """Layers, statistics and windows whose vectors are kept of each cut."""

    layers: tuple[str, ...] = ("clip",)
    """Outputs that are pooled: "clip" is the encoder's own clip vector, "output" its frames, "all"
    the frames of every layer and the output; layers by number, "0" the first, "-1" the last."""
    statistics: tuple[Literal["mean", "mean_std", "max"], ...] = ("mean",)
    """Statistics over time of the frames of output and layers; each gives an embedding of its
    own."""
    window: Positive | None = None
    """Duration of the windows in which cuts are embedded, in seconds; null: as pretraining
    presented clips to the encoder, or whole."""
    hop: Positive | None = None
    """Seconds from the start of one window to that of the next; null: the length of a window."""
    padded: bool = False
    """Whether a cut shorter than `window` lies in the middle of silence, and the rest at the end of
    a longer one is a window that ends with it. Otherwise a shorter cut is embedded as it is, and a
    rest is left out."""
    whole: bool = False
    """Whether cuts are embedded whole, however pretraining presented clips."""
    storage: Literal["float32", "float16", "bfloat16"] = "float32"
    """Number type on disk."""
    segments: str | None = None
    """Label of timed segments ("0.51-0.60 e|0.60-0.76 g"), such as phones: each is embedded, too,
    by the mean of the frames in it, for tasks with `segments: true`."""
    frames: bool = False
    """Whether every frame of the layers is kept, too, for tasks of events."""


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
    shown, counts, owners = presentation_for(encoder, config), [], []

    def windows() -> Iterator[Float[np.ndarray, " samples"]]:
        for cut in cuts:
            waveform = resample_waveform(corpus.waveform(cut), SAMPLE_RATE, encoder.sample_rate)
            pieces = cut_windows(waveform, shown, encoder.frame_rate)
            counts.append(len(pieces))
            owners.extend([cut] * len(pieces))
            yield from pieces

    rows: dict[str, list[Tensor]] = {}
    outputs = encode_all(
        encoder,
        windows(),
        lambda frames: {LENGTHS: list(frames.lengths), **pooled(frames, config)},
        leveled=shown.level != "own",
        device=device,
        batching=batching,
    )
    for number, vectors in enumerate(outputs):
        if int(vectors.pop(LENGTHS)) == 0 and encoder.frame_rate > 0:
            raise Skip(
                f"cut {corpus.name(owners[number])}: shorter than one frame of its encoder: leave "
                "it out (where), or choose another encoder"
            )
        for name, vector in vectors.items():
            rows.setdefault(name, []).append(vector)
    tensors = {name: torch.stack(parts) for name, parts in rows.items()}
    stored = {name: tensor.to(getattr(torch, config.storage)) for name, tensor in tensors.items()}
    _check_finite(stored, config)
    return {**stored, ROWS: torch.tensor(counts, dtype=torch.int64)}


def pooled(frames: Frames, config: EmbeddingConfig) -> dict[str, list[Tensor]]:
    """Pool frames to the vectors that are asked for.

    Example:
        >>> frames = Frames(torch.ones(2, 5, 4), torch.tensor([5, 3]), frame_rate=50.0)
        >>> config = EmbeddingConfig(layers=("output",), statistics=("mean", "mean_std"))
        >>> {name: rows[0].shape for name, rows in pooled(frames, config).items()}
        {'output.mean': torch.Size([4]), 'output.mean_std': torch.Size([8])}
    """
    parts: dict[str, Tensor] = {}
    for wanted in config.layers:
        parts.update(layers_of(frames, wanted))
    results: dict[str, list[Tensor]] = {}
    if "clip" in config.layers:
        results["clip"] = list(frames.clip.float())
    for name, vectors in parts.items():
        for statistic in config.statistics:
            pool = POOLS[statistic]
            lengths = frames.lengths if name == "output" else frames.lengths_of_layers
            results[f"{name}.{statistic}"] = list(pool(vectors.float(), lengths))
    return results


def presentation_for(encoder: Encoder, config: EmbeddingConfig) -> Presentation:
    """Find out how cuts are presented: as in pretraining, but for what the config says."""
    trained = presentation_of(encoder)
    if config.whole:
        return replace(trained, window_samples=None)
    if config.window is None:
        return trained
    rate = encoder.sample_rate
    return replace(
        trained,
        window_samples=round(config.window * rate),
        hop_samples=round((config.hop or config.window) * rate),
        padding="center" if config.padded else "none",
    )


def cut_windows(
    waveform: Float[np.ndarray, " samples"],
    presentation: Presentation,
    frame_rate: float,
    chunk: float = CHUNK,
) -> list[Float[np.ndarray, "_"]]:
    """Level a cut and cut it into windows, or into pieces if it is long."""
    read = partial(_span, waveform)
    return list(present(read, len(waveform), presentation, frame_rate, chunk))


def _span(waveform: Float[np.ndarray, " samples"], start: int, stop: int) -> Float[np.ndarray, "_"]:
    return waveform[start:stop]


def encoder_digest(encoder: nn.Module) -> str:
    """Identify an encoder by its structure, its config and the content of its tensors."""
    config = plain(getattr(encoder, "config", None))
    shown = plain(presentation_of(encoder))
    state = {**dict(encoder.named_parameters()), **dict(encoder.named_buffers())}
    return digest_of_json(
        [type(encoder).__qualname__, str(encoder), config, shown, digest_of_tensors(state)]
    )


def content_key(encoder: str, audio: str, config: EmbeddingConfig, precision: str) -> str:
    """Name embeddings by everything that they depend on.

    Args:
        encoder: Its digest.
        audio: What identifies the content of the audio.
        config: Windows and pooling.
        precision: In which the encoder computed.
    """
    settings = plain(config)
    if not config.frames:  # as it was before there were any
        del settings["frames"]
    return digest_of_json([FORMAT, encoder, audio, settings, precision])


def write_embeddings(path: Path, tensors: Mapping[str, Tensor], key: str) -> None:
    """Write the embeddings of a shard, whole or not at all."""
    write_weights(path, tensors, {"key": key})


@dataclass(frozen=True)
class Embeddings:
    """All embeddings of a corpus under one encoder."""

    vectors: dict[str, Float[np.ndarray, "rows _"]]
    """Vectors by name, cut after cut."""
    starts: Int[np.ndarray, " cuts_and_end"]
    """First row of each cut."""
    segments: "Embeddings | None" = None
    """Those of timed segments, if there are any: a row a segment."""
    frames: dict[str, Track] = field(default_factory=dict)
    """Frames of layers, where they were kept."""

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
        """Average the windows of each cut; NaN for one that was not embedded."""
        there = np.flatnonzero(np.diff(self.starts))
        everything = self.examples(name, there, np.zeros((len(there), 1), bool))
        vectors = np.full((len(self.starts) - 1, self.vectors[name].shape[1]), np.nan, np.float32)
        vectors[there] = everything.averaged().vectors
        return vectors


def read_embeddings(paths: Sequence[Path]) -> Embeddings:
    """Read the shards of one encoder, in order.

    Raises:
        UserError: A file is missing or damaged, or a number in it is not finite.
    """
    shards: list[dict[str, Any]] = [read_weights(path) for path in paths]
    for path, shard in zip(paths, shards, strict=True):
        if ROWS not in shard:
            raise UserError(f"{path}: holds no embeddings: give the output of recipes.probe.embed")
        if bad := not_finite(shard):
            raise UserError(f"{path}: NaN or infinite values in {', '.join(bad)}: embed again")
    known = all(f"{SEGMENTS}{ROWS}" in shard for shard in shards)
    segments = _joined(shards, SEGMENTS) if known else None
    return replace(_joined(shards, ""), segments=segments, frames=tracks_of(shards))


def _joined(shards: Sequence[Mapping[str, Any]], prefix: str) -> Embeddings:
    # A shard of which every cut was left out has no embeddings.
    names = {
        name: None
        for shard in shards
        for name in shard
        if name.startswith(prefix) and "/" not in name.removeprefix(prefix)
    }
    vectors = {
        name.removeprefix(prefix): _as_numpy(torch.cat([s[name] for s in shards if name in s]))
        for name in names
    }
    counts = vectors.pop(ROWS)
    return Embeddings(vectors, np.concatenate([[0], np.cumsum(counts)]))


def _as_numpy(tensor: Tensor) -> np.ndarray:
    """Numpy knows no bfloat16, of which float32 holds every number."""
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


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


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Name the tensors that hold NaN or infinity."""
    return [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]


def _check_finite(tensors: Mapping[str, Tensor], config: EmbeddingConfig) -> None:
    if bad := not_finite(tensors):
        hint = "store float32" if config.storage == "float16" else "check the encoder's weights"
        raise UserError(f"embeddings {', '.join(bad)}: NaN or infinite values: {hint}")
