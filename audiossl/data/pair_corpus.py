"""PairCorpus: the values of pairs as columns on disk, and batches of them.

Values of a modality are rows one after another: frames of any front end, or tokens. The number of
rows of each pair is known, so that any pair is a slice of a mapped file.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, Shaped

from audiossl.atomic_files import atomic_write, read_object, reading, write_json, write_text
from audiossl.batches import PairBatch
from audiossl.configs import Share, Whole, from_plain
from audiossl.data.columns import join_parts, open_columns, write_part
from audiossl.data.pairs import Kind, Pair, pair_row
from audiossl.data.plan import Plan, PlanConfig, Position
from audiossl.data.selection import Where, select
from audiossl.earlier_names import renamed
from audiossl.errors import Skip, UserError
from audiossl.nn.padding import padded

Values = Shaped[np.ndarray, "..."]
"""(rows, dim) frames, or (rows,) tokens."""


@dataclass(frozen=True)
class ModalityFacts:
    """What all pairs of a modality have in common."""

    kind: Kind
    size: int
    """Dimension of the frames, or number of different tokens."""
    frame_rate: float
    """Frames a second; 1 where there is no time."""
    front: str
    """Source of the values: an encoder, the units of text, ..."""
    vocabulary: tuple[str, ...] = ()
    """Text of each token, by number."""


def checked(values: Values, name: str) -> Values:
    """Refuse values that nothing can be learnt from.

    Raises:
        Skip: They are empty, or hold NaN or infinity.
    """
    if not len(values):
        raise Skip(f"{name}: is empty, or shorter than one frame")
    if values.dtype.kind == "f":
        finite = np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
        if not finite.all():
            first = int(finite.argmin())
            raise Skip(f"{name}: NaN or infinity in row {first} of {len(values)}: compute it again")
    return values


def write_pairs(
    rows: Iterable[tuple[Pair, Mapping[str, Values]]],
    folder: str | Path,
    shard: int,
    modalities: Mapping[str, ModalityFacts],
) -> tuple[str, ...]:
    """Write the pairs of one shard; float values in half precision.

    Returns:
        The files written, relative to `folder`.
    """
    folder = Path(folder)
    parts: dict[str, list[np.ndarray]] = {modality: [] for modality in modalities}
    lines = []
    for pair, values in rows:
        lines.append(json.dumps(pair_row(pair), ensure_ascii=False) + "\n")
        for modality, facts in modalities.items():
            parts[modality].append(_stored(values[modality], facts))
    names = [f"parts/pairs.{shard:06d}.jsonl"]
    write_text(folder / names[0], "".join(lines))
    for modality, facts in modalities.items():
        names.append(_part(modality, shard))
        lengths = np.array([len(rows) for rows in parts[modality]], np.int64)
        values = np.concatenate([_stored(np.zeros((0, facts.size)), facts), *parts[modality]])
        write_part(folder / names[-1], {"lengths": lengths, "values": values})
    return tuple(names)


def finish_pairs(folder: str | Path, shards: int, modalities: Mapping[str, ModalityFacts]) -> int:
    """Join the shards and describe what is there; what has no description is none.

    Returns:
        How many pairs there are.
    """
    folder = Path(folder)
    count = 0
    with (
        atomic_write(folder / "pairs.jsonl") as temporary,
        temporary.open("w", encoding="utf-8") as file,
    ):
        for shard in range(shards):
            text = (folder / f"parts/pairs.{shard:06d}.jsonl").read_text(encoding="utf-8")
            count += text.count("\n")
            file.write(text)
    for modality in modalities:
        join_parts(folder, modality, [folder / _part(modality, shard) for shard in range(shards)])
    described = {modality: vars(facts) for modality, facts in modalities.items()}
    write_json(folder / "pairs.json", {"modalities": described, "num_pairs": count})
    return count


class PairCorpus:
    """The output of `recipes.code_matching.pairs`."""

    def __init__(self, folder: str | Path) -> None:
        """Open it.

        Raises:
            UserError: It is no finished output of that stage.
        """
        folder = Path(folder)
        if not (folder / "pairs.json").exists():
            raise UserError(
                f"{folder}: not finished pairs (no pairs.json): run recipes.code_matching.pairs"
            )
        described = renamed(read_object(folder / "pairs.json", num_pairs=int))
        self.folder = folder
        with reading(folder / "pairs.json", "output of recipes.code_matching.pairs"):
            self.modalities = {
                modality: from_plain(ModalityFacts, renamed(facts), str(folder))
                for modality, facts in described["modalities"].items()
            }
        listed = folder / "pairs.jsonl"
        with reading(listed, "list of pairs"), listed.open(encoding="utf-8") as file:
            self.rows: list[dict[str, Any]] = [renamed(json.loads(line)) for line in file]
            concepts = [str(row["concept"]) for row in self.rows]
        if len(self.rows) != described["num_pairs"]:
            raise UserError(
                f"{listed}: {len(self.rows)} pairs, but {described['num_pairs']} were written: "
                "damaged; run recipes.code_matching.pairs again"
            )
        self.concepts: Int[np.ndarray, " pairs"] = np.unique(concepts, return_inverse=True)[1]
        self._columns = {modality: open_columns(folder, modality) for modality in self.modalities}
        self._starts = {
            modality: np.concatenate([[0], np.cumsum(columns["lengths"])])
            for modality, columns in self._columns.items()
        }

    def __len__(self) -> int:
        return len(self.rows)

    def __reduce__(self) -> tuple[type["PairCorpus"], tuple[Path]]:
        """Send the folder to other processes; they map the same files."""
        return PairCorpus, (self.folder,)

    def lengths(self, modality: str) -> Int[np.ndarray, " pairs"]:
        """Rows of each pair."""
        return self._columns[modality]["lengths"]

    def values(self, modality: str, index: int) -> Values:
        """Rows of one pair: float32 frames, or int32 tokens."""
        first, last = self._starts[modality][index : index + 2]
        rows = np.asarray(self._columns[modality]["values"][first:last])
        return rows.astype(np.int32 if rows.ndim == 1 else np.float32)

    def select(self, where: Where) -> Int[np.ndarray, " chosen"]:
        """Number the pairs whose labels have one of the given values, for every label given.

        Raises:
            UserError: There are none.
        """
        labels = (row["labels"] for row in self.rows)
        return select(labels, where, f"{self.folder}: no pair")

    def batch(self, rows: Sequence[int], longest: Mapping[str, int] | None = None) -> PairBatch:
        """Put some pairs together, padded to the longest of them, or to `longest`."""
        modalities, lengths = {}, {}
        for modality in self.modalities:
            values = (self.values(modality, int(row)) for row in rows)
            modalities[modality], lengths[modality] = padded(
                values, (longest or {}).get(modality, 0)
            )
        return PairBatch(modalities, lengths, torch.from_numpy(self.concepts[np.asarray(rows)]))


@dataclass(frozen=True, kw_only=True)
class PairViewsConfig:
    """How pairs are changed before they are learnt from; by default not at all."""

    gain: float = 0.0
    """Largest change of level in decibels, drawn anew for each modality from -gain to gain, so that
    loudness does not give a pair away; for log-mel front ends, whose values are natural logarithms
    of power."""
    masks: Whole = 0
    """Number of masked spans of frames, and of masked bands, that are set to their mean in
    modalities of sound."""
    span: Share = 0.1
    """Longest masked span as a share of the frames, or of the bands."""


class PairSource:
    """Batches of pairs; every batch is a function of (seed, epoch, number)."""

    def __init__(
        self,
        corpus: PairCorpus,
        chosen: Int[np.ndarray, " chosen"],
        plan: PlanConfig,
        views: PairViewsConfig | None = None,
    ) -> None:
        self.corpus, self.chosen = corpus, chosen
        self.views, self.seed = views or PairViewsConfig(), plan.seed
        first = next(iter(corpus.modalities))
        self.plan = Plan(corpus.lengths(first)[chosen], 1, plan)

    def load(self, position: Position, rank: int = 0, world_size: int = 1) -> PairBatch:
        """Read a rank's share of a batch; all ranks pad alike and draw alike."""
        everyone = self.chosen[self.plan.epoch(position.epoch).cuts(position.batch)]
        shares = np.array_split(np.arange(len(everyone)), world_size)
        longest = {s: int(self.corpus.lengths(s)[everyone].max()) for s in self.corpus.modalities}
        batch = self.corpus.batch(everyone[shares[rank]].tolist(), longest)
        key = np.uint64((position.epoch << 32) + position.batch)
        generator = np.random.Generator(np.random.Philox(key=[self.seed, int(key)]))
        for modality, facts in self.corpus.modalities.items():
            if facts.kind == "sound":
                draws = generator.random((len(everyone), 1 + 4 * self.views.masks), np.float32)
                self._change(
                    batch.modalities[modality], batch.lengths[modality], draws[shares[rank]]
                )
        return batch

    def _change(self, values: torch.Tensor, lengths: torch.Tensor, draws: np.ndarray) -> None:
        # A decibel is ln(10) / 10 nepers of power.
        gains = self.views.gain * np.log(10) / 10 * (2 * draws[:, 0] - 1)
        for row, length in enumerate(lengths.tolist()):
            valid = values[row, :length]
            mean = valid.mean(dim=0)
            for place, size, band, width in draws[row, 1:].reshape(-1, 4).tolist():
                valid[_span(place, size, length, self.views.span)] = mean
                bands = _span(band, width, valid.shape[1], self.views.span)
                valid[:, bands] = mean[bands]
            valid += float(gains[row])


def _span(place: float, size: float, count: int, longest: float) -> slice:
    width = int(size * (longest * count + 1))
    first = int(place * (count - width + 1))
    return slice(first, first + width)


def _stored(values: Values, facts: ModalityFacts) -> np.ndarray:
    if facts.kind == "text":
        return values.astype(np.int32).reshape(-1)
    # Beyond half precision's range nothing could be normalized anyway.
    return np.clip(values, -65504, 65504).astype(np.float16)


def _part(modality: str, shard: int) -> str:
    return f"parts/{modality}.{shard:06d}.columns"
