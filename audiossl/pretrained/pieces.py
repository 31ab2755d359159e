"""Clips piece by piece through an encoder, and the pieces' outputs put together again."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from audiossl.audio.presentation import (
    energy_of,
    level_scale,
    mean_of_windows,
    piece_spans,
    present,
)
from audiossl.errors import Skip
from audiossl.models.encoder import Encoder, presentation_of
from audiossl.nn.frames import Frames
from audiossl.nn.pooling import POOLS
from audiossl.pretrained.sounds import Clip, NamedClip

_T = TypeVar("_T")
_CONTEXT = 0.1
"""Seconds, beside one frame, by which a piece overlaps the next so that no frame is lost."""


@dataclass
class Embedded:
    """Vectors or frames of clips."""

    paths: list[Path] = field(default_factory=list)
    """Files that could be read; for waveforms in memory, what messages call them."""
    values: list[Tensor] = field(default_factory=list)
    """Vector (dim,) of each, or its frames (frames, dim)."""
    frame_rate: float = 0.0
    """Frames a second, where the values are frames."""
    layer_convention: str = ""
    """Point of the network at which the output is taken."""

    def stacked(self) -> Float[Tensor, "clips dim"]:
        """Put clip vectors into one tensor."""
        return torch.stack(self.values)


@dataclass(frozen=True)
class _Piece:
    file: int
    frames: int | None
    """Frames it stands for; the rest is context. None: all."""
    last: bool


class Pieces:
    """Waveforms of all clips, window after window, and what they add up to.

    Iterating yields what is encoded; `take` is called with what came out of it, in the same order,
    while later clips may have been read already.
    """

    def __init__(
        self,
        clips: list[NamedClip],
        encoder: Encoder,
        chunk: float,
        frames: bool,
        on_skip: Callable[[Skip], None] | None,
    ) -> None:
        self.clips, self.encoder, self.chunk = clips, encoder, chunk
        self.frames, self.on_skip = frames, on_skip
        self.presentation = presentation_of(encoder)
        convention = str(getattr(encoder, "layer_convention", ""))
        self.result = Embedded(frame_rate=encoder.frame_rate, layer_convention=convention)
        self.waiting: deque[_Piece] = deque()
        self.left_out: set[int] = set()
        self.last_reason: Skip | None = None
        self.owner, self.parts = -1, list[Tensor]()

    def __iter__(self) -> Iterator[Float[np.ndarray, " samples"]]:
        for file, named in enumerate(self.clips):
            try:
                clip = named.open()
                yield from self._in_time(file, clip) if self.frames else self._presented(file, clip)
            except Skip as reason:
                self._leave_out(file, reason)

    def take(self, outputs: Mapping[str, Tensor]) -> None:
        """Take what came out of the next piece; after a file's last, add the file to the result."""
        piece = self.waiting.popleft()
        if piece.file != self.owner:  # the parts of a file that broke off are dropped
            self.owner, self.parts = piece.file, []
        if piece.file in self.left_out:
            return
        if int(outputs["length"]) == 0 and self.encoder.frame_rate > 0 and not self.parts:
            name = self.clips[piece.file].name
            self._leave_out(piece.file, Skip(f"{name}: shorter than one frame of its encoder"))
            return
        self.parts.append(outputs["value"][: piece.frames] if self.frames else outputs["value"])
        if piece.last:
            self.result.paths.append(self.clips[piece.file].name)
            self.result.values.append(self._joined())

    def _joined(self) -> Tensor:
        if self.frames:
            return torch.cat(self.parts)
        windows = torch.stack(self.parts).numpy()
        return torch.from_numpy(mean_of_windows(windows, np.array([0])))[0]

    def _leave_out(self, file: int, reason: Skip) -> None:
        if self.on_skip is None or len(self.clips) == 1:
            raise reason
        self.on_skip(reason)
        self.last_reason = reason
        self.left_out.add(file)

    def _presented(self, file: int, clip: Clip) -> Iterator[Float[np.ndarray, " samples"]]:
        """Yield what makes the file's vector: windows as in pretraining, or pieces."""
        shown, rate = self.presentation, self.encoder.frame_rate
        pieces = present(clip.read, clip.num_samples, shown, rate, self.chunk)
        for waveform, is_last in _with_last(pieces):
            self.waiting.append(_Piece(file, None, is_last))
            yield waveform

    def _in_time(self, file: int, clip: Clip) -> Iterator[Float[np.ndarray, " samples"]]:
        """Yield pieces that overlap by a little, so that no frame between them is lost."""
        rate, hop = clip.sample_rate, clip.sample_rate / self.encoder.frame_rate
        scale = level_scale(
            energy_of(clip.read, clip.num_samples, self.presentation),
            clip.num_samples,
            self.presentation,
        )
        context = round(hop + _CONTEXT * rate)
        spans = piece_spans(clip.num_samples, rate, self.encoder.frame_rate, self.chunk)
        for start, stop in spans:
            last = stop == clip.num_samples
            count = None if last else round(stop / hop) - round(start / hop)
            self.waiting.append(_Piece(file, count, last))
            yield clip.read(start, min(stop + context, clip.num_samples)) * scale


def _with_last(pieces: Iterator[_T]) -> Iterator[tuple[_T, bool]]:
    """Say of each item whether it is the last."""
    before = next(pieces, None)
    while before is not None:
        after = next(pieces, None)
        yield before, after is None
        before = after


def vectors_of(pooling: str) -> Callable[[Frames], dict[str, list[Tensor]]]:
    """Keep a vector of each window: the encoder's own, or a statistic over its frames."""

    def keep(frames: Frames) -> dict[str, list[Tensor]]:
        pool = POOLS.get(pooling)
        vectors = pool(frames.vectors, frames.lengths) if pool else frames.clip
        return {"value": list(vectors.float()), "length": list(frames.lengths)}

    return keep


def frames_of(made: Callable[[Tensor], Tensor]) -> Callable[[Frames], dict[str, list[Tensor]]]:
    """Keep what is made of the valid frames of each piece."""

    def keep(frames: Frames) -> dict[str, list[Tensor]]:
        rows = zip(frames.vectors.float(), frames.lengths.tolist(), strict=True)
        return {"value": [made(row[:count]) for row, count in rows], "length": list(frames.lengths)}

    return keep
