"""Writing Shar: lhotse's shards, in a form that also gives random access to any sample.

A shard is a file of cuts, `cuts.000012.jsonl.gz`, and a tar per field, `recording.000012.tar`,
`vocals.000012.tar`, ..., in the same order; a missing value has a placeholder. Any tool that reads
Shar reads them. Stored as 16-bit WAV, samples lie in the tar as they are, and where they lie is
kept in columns: a crop is a slice of a mapped file, without decoding. FLAC takes half the room and
is decoded a cut at a time.

The same cuts give the same bytes: nothing in the files depends on the time.
"""

import gzip
import io
import json
import tarfile
import wave
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from lhotse import AudioSource, MonoCut, Recording, SupervisionSegment
from lhotse.shar.utils import to_shar_placeholder
from lhotse.shar.writers.tar import TarWriter

from audiossl.atomic_files import atomic_write
from audiossl.audio.encoding import flac_bytes, pcm16, stored_gain
from audiossl.data.items import MEASURED, SUPERVISION, Item
from audiossl.data.layout import LEVEL_HOP, SAMPLE_RATE, field_file

Encoding = Literal["wav", "flac"]


class ShardTar:
    """Writes the tar of one field of one shard: a value and its description for every cut.

    Use as a context; the tar takes its name when all of it is written.
    """

    def __init__(self, path: Path) -> None:
        self.places: list[tuple[int, int]] = []
        """Offset and size of each value in the tar; known after the context has ended."""
        self._file, self._count = atomic_write(path), 0

    def __enter__(self) -> "ShardTar":
        self._path = self._file.__enter__()
        self._tar = TarWriter(str(self._path), shard_size=None)
        self._tar.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            self._tar.__exit__(*error)
            if error[0] is None:
                if not self._count:
                    tarfile.open(self._path, "w").close()
                # Members alternate with their descriptions.
                with tarfile.open(self._path) as tar:
                    members = tar.getmembers()[::2]
                self.places += [(member.offset_data, member.size) for member in members]
        finally:
            self._file.__exit__(*error)

    def add(self, name: str, content: bytes, described: dict[str, Any]) -> None:
        """Append the value of a cut, whose file is called `name`, and its description."""
        self._tar.write(name, io.BytesIO(content))
        description = f"{name.rpartition('.')[0]}.json"
        self._tar.write(description, io.BytesIO(json.dumps(described).encode()), count=False)
        self._count += 1

    def add_missing(self, identity: str) -> None:
        """Append a placeholder for a cut that has no value."""
        self._tar.write(f"{identity}.nodata", io.BytesIO())
        self._tar.write(f"{identity}.nometa", io.BytesIO(), count=False)
        self._count += 1


@dataclass
class FieldWriter:
    """Writes the waveforms of one field of one shard, and gathers their columns.

    Use as a context; the tar takes its name when all of it is written.
    """

    folder: Path
    field_name: str
    shard: int
    encoding: Encoding
    rows: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._tar = ShardTar(self.folder / field_file(self.field_name, self.shard))

    def __enter__(self) -> "FieldWriter":
        self._tar.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._tar.__exit__(*error)
        if error[0] is None:
            for row, place in zip(self.rows, self._tar.places, strict=True):
                row["offset"], row["size"] = place

    def write(self, identity: str, waveform: Float[np.ndarray, " samples"] | None) -> float:
        """Append a waveform, or a placeholder where there is none.

        Returns:
            The gain it is stored with: 1, or the power of two that keeps it from clipping, or from
            being rounded away.
        """
        if waveform is None:
            self._tar.add_missing(identity)
            self.rows.append(_row(np.zeros(0, np.float32), 1.0, present=False))
            return 1.0
        gain = stored_gain(waveform)
        scaled = waveform * np.float32(gain)
        content = _wav_bytes(scaled) if self.encoding == "wav" else flac_bytes(scaled, SAMPLE_RATE)
        described = to_shar_placeholder(_recording(identity, len(waveform))).to_dict()
        self._tar.add(f"{identity}.{self.encoding}", content, described)
        self.rows.append(_row(waveform, gain, present=True))
        return gain

    def columns(self) -> dict[str, np.ndarray]:
        """Columns of what was written; call after the context has ended."""
        kinds = {"offset": np.int64, "size": np.int64, "energy": np.float64, "gain": np.float32}
        columns: dict[str, np.ndarray] = {
            name: np.array([row[name] for row in self.rows], kind) for name, kind in kinds.items()
        }
        tracks = [row["levels"] for row in self.rows]
        columns["levels"] = np.concatenate([np.zeros(0, np.float32), *tracks])
        columns["num_levels"] = np.array([len(track) for track in tracks], np.int64)
        return columns


def write_cuts(path: Path, cuts: Iterable[MonoCut]) -> None:
    """Write the cuts of a shard."""
    lines = [json.dumps(cut.to_dict(), ensure_ascii=False).encode() + b"\n" for cut in cuts]
    with atomic_write(path) as temporary:
        # The header of gzip would name a time, which does not belong to the content.
        temporary.write_bytes(gzip.compress(b"".join(lines), mtime=0))


def stored_cut(item: Item, num_samples: int, facts: dict[str, Any]) -> MonoCut:
    """Describe a stored waveform as a lhotse cut with one supervision.

    Args:
        item: What it was.
        num_samples: Of the stored waveform.
        facts: Further entries for its custom fields.
    """
    recording = to_shar_placeholder(_recording(item.id, num_samples))
    spoken = {name: item.labels[name] for name in SUPERVISION if name in item.labels}
    # What was measured stands under its own name; a label that has it becomes given_<name>.
    custom = {
        f"given_{name}" if name in MEASURED else name: value
        for name, value in item.labels.items()
        if name not in spoken
    }
    supervision = SupervisionSegment(
        id=item.id, recording_id=item.id, start=0.0, duration=recording.duration, **spoken
    )
    return MonoCut(
        id=item.id,
        start=0.0,
        duration=recording.duration,
        channel=0,
        supervisions=[supervision],
        recording=recording,
        custom={**custom, "recording": item.recording or item.id, **facts},
    )


def _recording(identity: str, num_samples: int) -> Recording:
    source = AudioSource(type="memory", channels=[0], source=b"")
    return Recording(identity, [source], SAMPLE_RATE, num_samples, num_samples / SAMPLE_RATE)


def _row(waveform: Float[np.ndarray, " samples"], gain: float, *, present: bool) -> dict[str, Any]:
    hops = np.pad(np.abs(waveform), (0, -len(waveform) % LEVEL_HOP)).reshape(-1, LEVEL_HOP)
    return {
        "gain": gain if present else 0.0,
        "energy": float(np.square(waveform, dtype=np.float64).sum()),
        "levels": hops.mean(axis=1, dtype=np.float32),
    }


def _wav_bytes(waveform: Float[np.ndarray, " samples"]) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(pcm16(waveform).astype("<i2").tobytes())
    return buffer.getvalue()
