"""`embed`: audio files of any kind and length to vectors, in one line and in bounded memory."""

import glob
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from audiossl.audio.presentation import (
    CHUNK,
    energy_of,
    level_scale,
    mean_of_windows,
    piece_spans,
    present,
)
from audiossl.errors import Skip, UserError
from audiossl.models.batching import encode_all
from audiossl.models.encoder import Encoder, presentation_of
from audiossl.nn.frames import Frames
from audiossl.nn.pooling import POOLS
from audiossl.pretrained.load import load_encoder
from audiossl.pretrained.sounds import FileClip

_T = TypeVar("_T")

UNTRAINED = "log_mel_statistics:"
"""What embeds where no encoder is named: mean and deviation of log-mel frames."""
_CONTEXT = 0.1
"""Seconds, beside one frame, by which a piece overlaps the next so that no frame is lost."""


def embed(
    paths: str | Path | Iterable[str | Path],
    encoder: nn.Module | str | Path = UNTRAINED,
    *,
    chunk: float = CHUNK,
    device: str = "auto",
) -> Float[Tensor, "files dim"]:
    """Embed audio files: one clip vector each.

    Files may be of any format, sample rate, number of channels and length. They are presented to
    the encoder as clips were in its pretraining: whole, or in windows, whose vectors are averaged.
    A file that would be presented whole and is longer than 1.5 chunks is encoded in equal pieces of
    about `chunk` seconds, whose vectors are averaged, too.

    Args:
        paths: A file, a glob ("clips/**/*.wav"), or several of them.
        encoder: What `load_encoder` returns, or what it takes. By default statistics of log-mel
            frames: no weights come with this package.
        chunk: Seconds that are encoded at once of longer files.
        device: Where to compute: "auto" (an accelerator if there is one), "cpu", "cuda:1", ...

    Raises:
        UserError: A file cannot be read (says which and why), or a pattern matches none.
    """
    return embed_files(paths, encoder, chunk=chunk, device=device).stacked()


@dataclass
class Embedded:
    """What became of files."""

    paths: list[Path] = field(default_factory=list)
    """Those that could be read."""
    values: list[Tensor] = field(default_factory=list)
    """Of each, its clip vector, or its frames."""
    frame_rate: float = 0.0
    """Frames a second, where the values are frames."""

    def stacked(self) -> Float[Tensor, "files dim"]:
        """Put clip vectors into one tensor."""
        return torch.stack(self.values)


def embed_files(
    paths: str | Path | Iterable[str | Path],
    encoder: nn.Module | str | Path,
    *,
    frames: bool = False,
    chunk: float = CHUNK,
    device: str = "auto",
    on_skip: Callable[[Skip], None] | None = None,
) -> Embedded:
    """Embed files as `embed` does, and say which.

    Args:
        paths: As in `embed`.
        encoder: As in `embed`.
        frames: Keep the frames (frames, dim) of each file rather than its clip vector.
        chunk: As in `embed`.
        device: As in `embed`.
        on_skip: Called with the reason for each file that cannot be read, which is then left out;
            without it the first one is raised.

    Raises:
        UserError: As `embed` does; or all files were left out.
    """
    if not 0 < chunk < math.inf:
        raise UserError(f"chunk {chunk}: expected a number of seconds above 0")
    chosen = chosen_device(device)
    network = encoder if isinstance(encoder, nn.Module) else load_encoder(encoder)
    ready = cast(Encoder, network.to(chosen))
    shown = presentation_of(ready)
    pieces = _Pieces(list_files(paths), ready, chunk, frames, on_skip)
    keep = _frames if frames else partial(_vectors, shown.pooling)
    leveled = shown.level != "own"
    for kept in encode_all(ready, pieces, keep, leveled=leveled, device=chosen):
        pieces.take(kept)
    if not pieces.result.paths:
        raise UserError(f"none of the files can be read: {pieces.last_reason}")
    return pieces.result


def list_files(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """List the files that paths and patterns name, patterns in the order of names.

    Raises:
        UserError: A pattern matches nothing, or there is no path at all.
    """
    names = [paths] if isinstance(paths, (str, Path)) else list(paths)
    found: list[Path] = []
    for name in names:
        if not glob.has_magic(str(name)) or Path(name).exists():
            found.append(Path(name))
            continue
        matches = sorted(glob.glob(str(name), recursive=True))  # noqa: PTH207 - absolute patterns
        if not matches:
            raise UserError(f"{name}: matches no file")
        found += map(Path, matches)
    if not found:
        raise UserError("no files to embed: give at least one path")
    return found


@dataclass(frozen=True)
class _Piece:
    file: int
    frames: int | None
    """Frames it stands for; the rest is context. None: all."""
    last: bool


class _Pieces:
    """Waveforms of all files, window after window, and what they add up to."""

    def __init__(
        self,
        paths: list[Path],
        encoder: Encoder,
        chunk: float,
        frames: bool,
        on_skip: Callable[[Skip], None] | None,
    ) -> None:
        self.paths, self.encoder, self.chunk = paths, encoder, chunk
        self.frames, self.on_skip = frames, on_skip
        self.presentation = presentation_of(encoder)
        self.result = Embedded(frame_rate=encoder.frame_rate)
        self.waiting: deque[_Piece] = deque()
        self.left_out: set[int] = set()
        self.last_reason: Skip | None = None
        self.owner, self.parts = -1, list[Tensor]()

    def __iter__(self) -> Iterator[Float[np.ndarray, " samples"]]:
        for file, path in enumerate(self.paths):
            try:
                clip = FileClip(path, self.encoder.sample_rate)
                yield from self._in_time(file, clip) if self.frames else self._presented(file, clip)
            except Skip as reason:
                self._leave_out(file, reason)

    def take(self, kept: Mapping[str, Tensor]) -> None:
        """Take what came out of the next piece; after a file's last, add the file to the result."""
        piece = self.waiting.popleft()
        if piece.file != self.owner:  # the parts of a file that broke off are dropped
            self.owner, self.parts = piece.file, []
        if piece.file in self.left_out:
            return
        if int(kept["length"]) == 0 and self.encoder.frame_rate > 0 and not self.parts:
            path = self.paths[piece.file]
            self._leave_out(piece.file, Skip(f"{path}: shorter than one frame of its encoder"))
            return
        self.parts.append(kept["value"][: piece.frames] if self.frames else kept["value"])
        if piece.last:
            self.result.paths.append(self.paths[piece.file])
            self.result.values.append(self._joined())

    def _joined(self) -> Tensor:
        if self.frames:
            return torch.cat(self.parts)
        windows = torch.stack(self.parts).numpy()
        return torch.from_numpy(mean_of_windows(windows, np.array([0])))[0]

    def _leave_out(self, file: int, reason: Skip) -> None:
        if self.on_skip is None or len(self.paths) == 1:
            raise reason
        self.on_skip(reason)
        self.last_reason = reason
        self.left_out.add(file)

    def _presented(self, file: int, clip: FileClip) -> Iterator[Float[np.ndarray, " samples"]]:
        """Yield what makes the file's vector: windows as in pretraining, or pieces."""
        shown, rate = self.presentation, self.encoder.frame_rate
        pieces = present(clip.read, clip.num_samples, shown, rate, self.chunk)
        for waveform, is_last in _with_last(pieces):
            self.waiting.append(_Piece(file, None, is_last))
            yield waveform

    def _in_time(self, file: int, clip: FileClip) -> Iterator[Float[np.ndarray, " samples"]]:
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


def _vectors(pooling: str, frames: Frames) -> dict[str, list[Tensor]]:
    vectors = POOLS[pooling](frames.vectors, frames.lengths) if pooling in POOLS else frames.clip
    return {"value": list(vectors.float()), "length": list(frames.lengths)}


def _frames(frames: Frames) -> dict[str, list[Tensor]]:
    rows = zip(frames.vectors.float(), frames.lengths.tolist(), strict=True)
    return {"value": [row[:count] for row, count in rows], "length": list(frames.lengths)}


def chosen_device(name: str) -> torch.device:
    """Name a device; "auto" is the accelerator if there is one.

    Raises:
        UserError: There is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"device {name!r}: expected auto, cpu, cuda, cuda:1, ...") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device {name!r}: there are {torch.cuda.device_count()} GPUs here")
    return device
