"""`embed`: audio files of any kind and length to vectors, in one line and in bounded memory."""

import glob
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from audiossl.audio.files import audio_info, read_waveform
from audiossl.errors import Skip, UserError
from audiossl.models.batching import encode_all
from audiossl.models.encoder import Encoder
from audiossl.nn.frames import Frames
from audiossl.pretrained.load import load_encoder

UNTRAINED = "log-mel:"
"""What embeds where no encoder is named: mean and deviation of log-mel frames."""
CHUNK = 30.0
"""Seconds that are encoded at once of files that are longer."""
_READ_AT_ONCE = 20
"""Chunks that are decoded in one go: an mp3 is decoded from its beginning each time."""
_CONTEXT = 0.1
"""Seconds, beside one frame, by which a chunk overlaps the next so that no frame is lost."""


def embed(
    paths: str | Path | Iterable[str | Path],
    encoder: nn.Module | str | Path = UNTRAINED,
    *,
    chunk: float = CHUNK,
    device: str = "auto",
) -> Float[Tensor, "files dim"]:
    """Embed audio files: one clip vector each.

    Files may be of any format, sample rate, number of channels and length. A file longer than 1.5
    chunks is encoded in pieces of about `chunk` seconds; its vector is then the mean of theirs,
    weighted by duration.

    Args:
        paths: A file, a glob ("clips/**/*.wav"), or several of them.
        encoder: What `load_encoder` returns, or what it takes. By default statistics of log-mel
            frames: no weights come with this package.
        chunk: Seconds that are encoded at once.
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
    result = Embedded(frame_rate=ready.frame_rate)
    chunks = _Chunks(list_files(paths), ready, chunk, frames, on_skip)
    keep = _frames if frames else _clip
    for kept in encode_all(ready, chunks, keep, device=chosen):
        chunks.take(kept["value"], result)
    if not result.paths:
        raise UserError(f"none of the files can be read: {chunks.last_reason}")
    return result


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


@dataclass
class _Chunk:
    file: int
    weight: float
    """Seconds it stands for."""
    frames: int | None
    """Frames it stands for; the rest is context. None: all."""
    last: bool


class _Chunks:
    """Waveforms of all files, chunk after chunk, and what they add up to."""

    def __init__(
        self,
        paths: list[Path],
        encoder: Encoder,
        seconds: float,
        frames: bool,
        on_skip: Callable[[Skip], None] | None,
    ) -> None:
        self.paths, self.encoder, self.on_skip = paths, encoder, on_skip
        # A whole number of frames, so that those of all chunks are in step.
        self.count = max(1, int(seconds * encoder.frame_rate))
        self.step = self.count / encoder.frame_rate
        self.context = 1 / encoder.frame_rate + _CONTEXT if frames else 0.0
        self.frames = frames
        self.waiting: deque[_Chunk] = deque()
        self.unreadable: set[int] = set()
        self.last_reason: Skip | None = None
        self.parts: list[tuple[_Chunk, Tensor]] = []

    def __iter__(self) -> Iterator[Float[np.ndarray, " samples"]]:
        for file, path in enumerate(self.paths):
            try:
                yield from self._read(file, path)
            except Skip as reason:
                if self.on_skip is None or len(self.paths) == 1:
                    raise
                self.on_skip(reason)
                self.last_reason = reason
                self.unreadable.add(file)

    def take(self, value: Tensor, result: Embedded) -> None:
        """Take what came out of the next chunk; after a file's last, add the file to `result`."""
        chunk = self.waiting.popleft()
        if self.parts and self.parts[0][0].file != chunk.file:
            self.parts.clear()  # of a file that broke off
        self.parts.append((chunk, value))
        if not chunk.last or chunk.file in self.unreadable:
            return
        if self.frames:
            whole = torch.cat([part[: piece.frames] for piece, part in self.parts])
        else:
            weights = torch.tensor([piece.weight for piece, _ in self.parts])
            whole = weights @ torch.stack([part for _, part in self.parts]) / weights.sum()
        result.paths.append(self.paths[chunk.file])
        result.values.append(whole)
        self.parts.clear()

    def _read(self, file: int, path: Path) -> Iterator[Float[np.ndarray, " samples"]]:
        rate, duration = self.encoder.sample_rate, audio_info(path).duration
        count = max(1, round(duration / self.step))
        for first in range(0, count, _READ_AT_ONCE):
            start, after = first * self.step, min(first + _READ_AT_ONCE, count)
            end = None if after == count else (after * self.step + self.context)
            span = None if end is None else min(end, duration) - start
            stretch = read_waveform(path, sample_rate=rate, start=start, duration=span)
            for number in range(first, after):
                begin = round((number - first) * self.step * rate)
                last = number + 1 == count
                stop = None if last else begin + round((self.step + self.context) * rate)
                weight = (duration - number * self.step) if last else self.step
                self.waiting.append(_Chunk(file, weight, None if last else self.count, last))
                yield stretch[begin:stop]


def _clip(frames: Frames) -> dict[str, list[Tensor]]:
    return {"value": list(frames.clip.float())}


def _frames(frames: Frames) -> dict[str, list[Tensor]]:
    counts = frames.lengths.tolist()
    return {
        "value": [row[:count] for row, count in zip(frames.vectors.float(), counts, strict=True)]
    }


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
