"""Corpus: the cuts of a folder of shards, and any sample of any of them without delay."""

import functools
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from jaxtyping import Float, Int

from audiossl.atomic_files import read_json, read_object
from audiossl.data.codes import CodeField, cropped
from audiossl.data.columns import map_file, open_columns
from audiossl.data.items import SUPERVISION
from audiossl.data.layout import LEVEL_HOP, RECORDING, WAV_HEADER, cuts_file, field_file
from audiossl.data.reading import SAMPLE_RATE
from audiossl.data.selection import Where, select
from audiossl.errors import UserError
from audiossl.nn.codes import Codes

"""The field that every corpus has."""


@dataclass(frozen=True)
class Field:
    """One waveform a cut: its recording, or a stem; where each lies, and how loud it is."""

    name: str
    folder: Path
    encoding: str
    columns: dict[str, np.ndarray]

    @property
    def present(self) -> np.ndarray:
        """Whether each cut has this field."""
        return self.columns["gain"] > 0

    @property
    def energy(self) -> Float[np.ndarray, " cuts"]:
        """Sum of squares of each waveform."""
        return self.columns["energy"]

    def mean_magnitude(self, index: int, start: int, num_samples: int) -> float:
        """Average |x| over a span of a cut, to the precision of `LEVEL_HOP` samples at its ends."""
        if not self.present[index]:
            return 0.0
        track = self.levels(index)
        return float(track[start // LEVEL_HOP : -(-(start + num_samples) // LEVEL_HOP)].mean())

    def levels(self, index: int) -> Float[np.ndarray, " hops"]:
        """Mean |x| of every `LEVEL_HOP` samples of a cut."""
        first = int(self._level_starts[index])
        return self.columns["levels"][first : first + int(self.columns["num_levels"][index])]

    @functools.cached_property
    def _level_starts(self) -> Int[np.ndarray, " cuts"]:
        counts = self.columns["num_levels"]
        return np.concatenate([[0], np.cumsum(counts)[:-1]])


class Corpus:
    """The output of a `prepare` stage, with the fields of other stages beside it.

    Cuts are numbered in the order of the shards. Opening it reads nothing but headers: columns are
    mapped to memory, and so are the shards that are read.
    """

    def __init__(self, *folders: str | Path) -> None:
        """Open a corpus.

        Args:
            folders: Output of `prepare`, then any outputs of stages that add fields to it.

        Raises:
            UserError: A folder is not one, is unfinished, or is of other cuts.
        """
        self.folders = tuple(Path(folder) for folder in folders)
        self.folder = self.folders[0]
        described = [_described(folder) for folder in self.folders]
        self.cuts_id: str = described[0]["cuts"]
        """Identifies the cuts: a digest of their ids and lengths, in order."""
        cuts = open_columns(self.folder, "cuts")
        self.ids = cuts["id"]
        self.num_samples: Int[np.ndarray, " cuts"] = cuts["num_samples"]
        self.recordings: Int[np.ndarray, " cuts"] = cuts["recording"]
        self.shards: Int[np.ndarray, " cuts"] = cuts["shard"]
        self.fields: dict[str, Field] = {}
        self.code_fields: dict[str, CodeField] = {}
        for folder, facts in zip(self.folders, described, strict=True):
            if facts["cuts"] != described[0]["cuts"]:
                raise UserError(
                    f"{folder} was made from other cuts than {self.folder}: run its stage again"
                )
            for name in facts["fields"]:
                columns = open_columns(folder, name)
                self.fields[name] = Field(name, folder, facts["encoding"], columns)
                self._check_sizes(self.fields[name])
            for name, coded in facts.get("codes", {}).items():
                if name in self.code_fields:
                    other = self.code_fields[name].folder
                    raise UserError(
                        f"{folder} and {other} both have codes {name!r}: give one of them"
                    )
                self.code_fields[name] = CodeField.opened(folder, name, coded)

    def _check_sizes(self, entry: Field) -> None:
        """Refuse a shard that is shorter than what lies in it."""
        if len(entry.columns["offset"]) != len(self):
            raise UserError(f"{entry.folder}: columns of {entry.name!r} are damaged: {_AGAIN}")
        last = np.flatnonzero(np.diff(self.shards, append=-1))
        ends = entry.columns["offset"][last] + entry.columns["size"][last]
        for shard, end in zip(self.shards[last].tolist(), ends.tolist(), strict=True):
            path = entry.folder / field_file(entry.name, shard)
            size = path.stat().st_size if path.is_file() else 0
            if size < end:
                raise _damaged(path, f"{size} bytes, its last cut ends at {end}")

    def __len__(self) -> int:
        return len(self.num_samples)

    def __reduce__(self) -> tuple[type["Corpus"], tuple[Path, ...]]:
        """Send folders to other processes; they map the same files instead of copying them."""
        return Corpus, self.folders

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the fields that are stems."""
        return tuple(name for name in self.fields if name != RECORDING)

    def name(self, index: int) -> str:
        """Id of a cut."""
        return bytes(self.ids[index]).decode()

    def waveform(
        self, index: int, field: str = RECORDING, start: int = 0, num_samples: int | None = None
    ) -> Float[np.ndarray, " samples"]:
        """Read a crop of a cut, at 16 kHz; the whole cut by default.

        Zeros stand for a stem that the cut has not.

        Raises:
            UserError: The crop reaches beyond the cut, or its shard is damaged.
        """
        whole = int(self.num_samples[index])
        end = whole if num_samples is None else start + num_samples
        if not 0 <= start <= end <= whole:
            raise UserError(
                f"{self.folder}, cut {self.name(index)}: has samples 0 to {whole}, asked for "
                f"{start} to {end}: correct start and duration"
            )
        entry = self.fields[field]
        if not entry.present[index]:
            return np.zeros(end - start, np.float32)
        pcm = self._pcm(entry, index, start, end)
        if len(pcm) != end - start:
            path = entry.folder / field_file(field, int(self.shards[index]))
            raise _damaged(path, f"cut {self.name(index)} ends too early")
        return pcm.astype(np.float32) * np.float32(
            1 / (32768 * float(entry.columns["gain"][index]))
        )

    def _pcm(self, entry: Field, index: int, start: int, end: int) -> Int[np.ndarray, " samples"]:
        offset, size = int(entry.columns["offset"][index]), int(entry.columns["size"][index])
        path = entry.folder / field_file(entry.name, int(self.shards[index]))
        mapped = map_file(path)
        if entry.encoding == "wav":
            first = offset + WAV_HEADER + 2 * start
            return mapped[first : first + 2 * (end - start)].view("<i2")
        try:
            with soundfile.SoundFile(io.BytesIO(mapped[offset : offset + size].tobytes())) as file:
                file.seek(start)
                pcm: np.ndarray = file.read(end - start, dtype="int16")
                return pcm
        except soundfile.LibsndfileError as error:
            raise _damaged(path, f"cut {self.name(index)}: {error.error_string}") from error

    def codes(
        self, index: int, field: str, start: int = 0, num_samples: int | None = None
    ) -> Codes:
        """Read the codes of a crop of a cut; of the whole cut by default.

        Args:
            index: Number of the cut.
            field: One of `code_fields`.
            start: First sample of the crop, at 16 kHz.
            num_samples: Samples of the crop; codes are cut with it.

        Raises:
            UserError: The cut has none, or they are damaged.
        """
        codes = self.code_fields[field].read(index, int(self.shards[index]), self.name(index))
        return codes if num_samples is None else cropped(codes, start, num_samples)

    def select(self, where: Where) -> Int[np.ndarray, " cuts"]:
        """Number the cuts whose labels have one of the given values, for every label given.

        Raises:
            UserError: There are none.
        """
        if not where:
            return np.arange(len(self))
        return select(self.labels(), where, f"{self.folder}: no cut")

    @property
    def num_shards(self) -> int:
        """Number of shards."""
        return int(read_json(self.folder / "corpus.json")["num_shards"])

    def shard_cuts(self, shard: int) -> Int[np.ndarray, " cuts"]:
        """Number the cuts of a shard."""
        return np.arange(*np.searchsorted(self.shards, [shard, shard + 1]))

    def shard_hours(self, cuts: Int[np.ndarray, " chosen"]) -> list[float]:
        """Add up the hours of `cuts` in each shard."""
        samples = np.bincount(self.shards[cuts], self.num_samples[cuts], self.num_shards)
        return [float(number) for number in samples / SAMPLE_RATE / 3600]

    def shard_labels(self, shard: int) -> Iterator[dict[str, str]]:
        """Read what is known of each cut of a shard: its id and every label, by name."""
        path, count = self.folder / cuts_file(shard), len(self.shard_cuts(shard))
        try:
            with gzip.open(path, "rb") as file:
                labels = [_labels(json.loads(line)) for line in file]
        except (
            OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, AttributeError,
            RecursionError,
        ) as error:  # fmt: skip
            raise _damaged(path, str(error)) from error
        if len(labels) != count:
            raise _damaged(path, f"{len(labels)} of {count} cuts")
        yield from labels

    def labels(self) -> Iterator[dict[str, str]]:
        """Read what is known of each cut: its id, speaker, text and every other label, by name."""
        for shard in range(self.num_shards):
            yield from self.shard_labels(shard)


def _labels(cut: dict[str, Any]) -> dict[str, str]:
    labels = {name: str(value) for name, value in cut.get("custom", {}).items()}
    for supervision in cut["supervisions"]:
        labels |= {name: supervision[name] for name in SUPERVISION if supervision.get(name)}
    # What was measured comes last: no label of the same name takes its place.
    return {**labels, "id": cut["id"], "duration": str(cut["duration"])}


_AGAIN = "run its stage again with --verify (audiossl doctor names all that is damaged)"


def _damaged(path: Path, what: str) -> UserError:
    return UserError(f"{path}: damaged ({what}): {_AGAIN}")


def _stage_to_run(folder: Path) -> str:
    """Name the stage whose unfinished output a folder is, or those that make a corpus."""
    record = folder / "stage.json"
    if record.exists():
        return f"run {read_json(record).get('command', 'its stage')} again, which goes on"
    return (
        "make one with python -m recipes.prepare.folder --folder AUDIO --output "
        f"{folder} (or recipes.prepare.kaldi, recipes.prepare.lhotse)"
    )


def _described(folder: Path) -> dict[str, Any]:
    path = folder / "corpus.json"
    if not path.exists():
        raise UserError(
            f"{folder}: not a finished corpus (no corpus.json): {_stage_to_run(folder)}"
        )
    return read_object(path, fields=list, num_shards=int, cuts=str)
