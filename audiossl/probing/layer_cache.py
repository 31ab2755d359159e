"""Frames of every layer of a frozen encoder, on disk: heads are trained on them many times.

Some cuts share a file of safetensors, of which one cut is read at a time. Frames of a cut are
(layers, frames, dim).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from audiossl.atomic_files import read_object, reading, write_json
from audiossl.audio.resampling import resample_waveform
from audiossl.batches import LayerBatch
from audiossl.data.corpus import Corpus
from audiossl.data.labeled_cuts import LabelSource
from audiossl.data.layout import SAMPLE_RATE
from audiossl.data.plan import Position
from audiossl.errors import Skip, UserError
from audiossl.methods.supervised import InputFacts
from audiossl.models.batching import encode_all
from audiossl.models.encoder import Encoder
from audiossl.nn.frames import Frames
from audiossl.nn.padding import padded
from audiossl.nn.weights import write_weights

CUTS_OF_A_FILE = 32
FACTS = "layers.json"


def size_of(facts: InputFacts, frame_rate: float, seconds: float) -> float:
    """Compute the GiB of a cache in float16.

    Example:
        >>> round(size_of(InputFacts(12, 768, 768, 768), 50.0, 3600.0), 1)
        3.1
    """
    return facts.num_layers * facts.layer_dim * 2 * frame_rate * seconds / 2**30


@dataclass(frozen=True)
class CachedLayers:
    """A folder of frames."""

    folder: Path
    files: Mapping[int, str]
    """File of each cut."""
    first: float
    """Seconds at the center of the first frame."""
    period: float
    """Seconds between frames."""

    @classmethod
    def open(cls, folder: Path) -> "CachedLayers":
        """Open a cache.

        Raises:
            UserError: It was not written to its end.
        """
        number = (int, float)
        facts = read_object(folder / FACTS, first=number, period=number, files=dict)
        files = {int(cut): str(name) for cut, name in facts["files"].items()}
        return cls(folder, files, float(facts["first"]), float(facts["period"]))

    def layers(self, cut: int) -> Any:
        """Read the frames of a cut: (layers, frames, dim)."""
        path = self.folder / self.files[cut]
        with reading(path, "frames of a cache"):
            return _opened(path).get_tensor(str(cut)).numpy()

    def layer(self, cut: int, number: int) -> Any:
        """Read the frames of one layer of a cut: (frames, dim)."""
        path = self.folder / self.files[cut]
        with reading(path, "frames of a cache"):
            return _opened(path).get_slice(str(cut))[number].numpy()


def write_layers(
    folder: Path,
    corpus: Corpus,
    cuts: Sequence[int],
    encoder: Encoder,
    *,
    device: torch.device | None = None,
) -> CachedLayers:
    """Encode cuts; files that are there are kept.

    Raises:
        UserError: Frames are not finite, or beyond float16.
        Skip: A cut is shorter than one frame of the encoder.
    """
    if (folder / FACTS).exists():
        return CachedLayers.open(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[int, str] = {}
    for begin in range(0, len(cuts), CUTS_OF_A_FILE):
        name = f"{begin // CUTS_OF_A_FILE:06d}.safetensors"
        chosen = cuts[begin : begin + CUTS_OF_A_FILE]
        files |= dict.fromkeys(chosen, name)
        if not (folder / name).exists():
            write_weights(folder / name, _encoded(corpus, chosen, encoder, device))
    first, period = _times(encoder, device)
    content = {"first": first, "period": period, "files": files}
    write_json(folder / FACTS, content)
    return CachedLayers.open(folder)


def _encoded(
    corpus: Corpus, cuts: Sequence[int], encoder: Encoder, device: torch.device | None
) -> dict[str, Tensor]:
    rate = encoder.sample_rate
    waveforms = (resample_waveform(corpus.waveform(cut), SAMPLE_RATE, rate) for cut in cuts)
    rows = encode_all(encoder, waveforms, _kept, device=device)
    tensors = {}
    for cut, row in zip(cuts, rows, strict=True):
        _check(row["layers"], corpus.name(cut))
        tensors[str(cut)] = row["layers"]
    return tensors


def _kept(frames: Frames) -> dict[str, list[Tensor]]:
    stacked = torch.stack(frames.layers or (frames.vectors,), dim=1)
    lengths = frames.lengths_of_layers.tolist()
    return {"layers": [row[:, :n].half() for row, n in zip(stacked, lengths, strict=True)]}


def _times(encoder: Encoder, device: torch.device | None) -> tuple[float, float]:
    """Find when frames are, in a second of silence."""
    second = torch.zeros(1, encoder.sample_rate, device=device)
    with torch.inference_mode():
        frames = encoder(second, torch.tensor([encoder.sample_rate], device=device))
    times = frames.times_of_layers
    return float(times[0]), 1 / (frames.layer_rate or frames.frame_rate)


class LayerSource:
    """A `BatchSource` of cached frames, in the batches of a source of waveforms."""

    def __init__(self, source: LabelSource, cache: CachedLayers) -> None:
        self.source, self.cache = source, cache
        self.plan, self.cuts = source.plan, source.cuts

    def load(self, position: Position, rank: int = 0, world_size: int = 1) -> LayerBatch:
        """Read a rank's share of the batch at `position`."""
        items, _ = self.source.share(position, rank, world_size)
        return self.batch(items, 0)

    def batch(self, items: Sequence[int], width: int) -> LayerBatch:  # noqa: ARG002 - of waveforms
        """Read cuts."""
        frames = [self.cache.layers(int(self.cuts.cuts[item])).swapaxes(0, 1) for item in items]
        layers, lengths = padded(frames)
        targets, counts = padded(self.source.targets[item] for item in items)
        layers, rate = layers.transpose(1, 2).float(), 1 / self.cache.period
        return LayerBatch(layers, lengths, self.cache.first, rate, targets, counts)


def _check(layers: Tensor, cut: str) -> None:
    if layers.shape[1] == 0:
        raise Skip(
            f"cut {cut}: shorter than one frame of its encoder: leave it out (train.min_duration)"
        )
    if not bool(layers.isfinite().all()):
        raise UserError(
            f"cut {cut}: frames that are not finite, or beyond what float16 holds: stream them "
            "(most_cached: 0)"
        )


@lru_cache(maxsize=64)
def _opened(path: Path) -> Any:
    return safe_open(path, framework="pt")
