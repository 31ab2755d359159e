"""From items to shards: decode, check, store, describe; a shard at a time."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audiossl.atomic_files import write_json
from audiossl.data.columns import join_parts, write_part
from audiossl.data.items import Item
from audiossl.data.layout import RECORDING, cuts_file, field_file, part_file
from audiossl.data.reading import SAMPLE_RATE, Sound, read_item
from audiossl.data.shar import Encoding, FieldWriter, stored_cut, write_cuts
from audiossl.digests import digest_of_bytes
from audiossl.errors import Skip
from audiossl.preemption import safe_point


@dataclass(frozen=True)
class ShardReport:
    """What became of a shard's items."""

    files: tuple[str, ...]
    """Written files, relative to the folder."""
    num_items: int
    """Items, skipped ones included."""
    seconds: float
    """Audio stored."""
    skipped: tuple[dict[str, str], ...]
    """{"id", "reason"} of items left out."""


@dataclass(frozen=True)
class Durations:
    """Which cuts are kept."""

    shortest: float
    """Seconds."""
    longest: float
    """Seconds."""

    def check(self, item: Item, sound: Sound) -> None:
        """Refuse a cut that is too short or too long.

        Raises:
            Skip: Its duration is out of bounds.
        """
        duration = len(sound.waveform) / SAMPLE_RATE
        if not self.shortest <= duration <= self.longest:
            raise Skip(
                f"{item.source}: {duration:.4f} s, but cuts of {self.shortest} to {self.longest} s "
                "are asked for (min_duration, max_duration)"
            )


def write_shard(
    items: Iterable[Item], folder: str | Path, shard: int, encoding: Encoding, durations: Durations
) -> ShardReport:
    """Write the cuts and the recordings of one shard, with their columns."""
    folder = Path(folder)
    cuts, skipped, num_items = [], [], 0
    with FieldWriter(folder, RECORDING, shard, encoding) as writer:
        for item in items:
            num_items += 1
            safe_point()
            try:
                sound = read_item(item)
                durations.check(item, sound)
            except Skip as error:
                skipped.append({"id": item.id, "reason": str(error)})
                continue
            gain = writer.write(item.id, sound.waveform)
            facts: dict[str, float] = {
                "native_rate": sound.native_rate,
                "native_channels": sound.native_channels,
            }
            if gain != 1.0:
                facts["gain"] = gain
            cuts.append(stored_cut(item, len(sound.waveform), facts))
    write_cuts(folder / cuts_file(shard), cuts)
    columns = {
        "id": np.array([cut.id.encode() for cut in cuts], np.bytes_),
        "num_samples": np.array([cut.recording.num_samples for cut in cuts], np.int64),
        "recording": np.array([_number(cut.custom["recording"]) for cut in cuts], np.int64),
        "shard": np.full(len(cuts), shard, np.int32),
    }
    write_part(folder / part_file("cuts", shard), columns)
    write_part(folder / part_file(RECORDING, shard), writer.columns())
    files = [cuts_file(shard), field_file(RECORDING, shard)]
    files += [part_file(name, shard) for name in ("cuts", RECORDING)]
    seconds = float(columns["num_samples"].sum()) / SAMPLE_RATE
    return ShardReport(tuple(files), num_items, seconds, tuple(skipped))


def finish_corpus(
    folder: str | Path,
    shards: int,
    fields: Sequence[str],
    facts: dict[str, Any],
    joined: Sequence[str] = (),
) -> None:
    """Join the columns of all shards and describe the corpus; what has no description is none.

    Args:
        folder: Where the shards are.
        shards: How many there are.
        fields: Names of the waveforms each cut has here.
        facts: `encoding`, and `cuts`, which identifies the cuts that the fields belong to.
        joined: Names of other columns to join.
    """
    folder = Path(folder)
    for name in (*fields, *joined):
        join_parts(folder, name, [folder / part_file(name, shard) for shard in range(shards)])
    write_json(folder / "corpus.json", {"fields": list(fields), "num_shards": shards, **facts})


def join_cuts(folder: str | Path, shards: int) -> str:
    """Join the columns that describe the cuts themselves.

    Returns:
        What identifies them: a digest of their ids and lengths, in order.
    """
    folder = Path(folder)
    join_parts(folder, "cuts", [folder / part_file("cuts", shard) for shard in range(shards)])
    columns = (folder / "columns" / "cuts" / f"{name}.npy" for name in ("id", "num_samples"))
    return digest_of_bytes(np.load(column).tobytes() for column in columns)


def _number(name: str) -> int:
    """Number a name, the same everywhere."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little", signed=True)
