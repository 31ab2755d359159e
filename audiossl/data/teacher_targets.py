"""Targets that frozen teachers gave to excerpts of cuts, stored beside a corpus.

A folder holds the frames and clip vectors of one teacher as columns, in half precision, and
`targets.json`, which says of which cuts they are and where frames lie in time. An excerpt is a cut,
or one of the equal pieces of a longer one, and is encoded by itself, so that its clip vector is of
what a crop of it is part of.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from audiossl.atomic_files import read_object, write_json
from audiossl.batches import TeacherFacts
from audiossl.configs import from_plain
from audiossl.data.columns import join_parts, open_columns, write_part
from audiossl.data.layout import part_file
from audiossl.errors import UserError

NAME, DESCRIPTION = "targets", "targets.json"


@dataclass(frozen=True, order=True)
class Excerpt:
    """A stretch of a cut."""

    cut: int
    start: int
    """First sample."""
    num_samples: int


@dataclass(frozen=True)
class ExcerptTargets:
    """What one teacher makes of one excerpt."""

    excerpt: Excerpt
    frames: Float[np.ndarray, "frames dim"]
    clip: Float[np.ndarray, " clip_dim"]
    """Empty if the teacher has no clip vector of its own."""


def write_targets(
    folder: Path, shard: int, targets: Sequence[ExcerptTargets], facts: TeacherFacts
) -> tuple[str, ...]:
    """Write the targets of the excerpts of one shard; return the files, relative to `folder`.

    Raises:
        UserError: A value is beyond what half precision holds.
    """
    places = np.array([(t.excerpt.cut, t.excerpt.start, t.excerpt.num_samples, len(t.frames))
                       for t in targets], np.int64).reshape(-1, 4)  # fmt: skip
    columns = dict(zip(("cut", "start", "num_samples", "num_frames"), places.T, strict=True))
    frames = [np.zeros((0, facts.dim), np.float32), *(t.frames for t in targets)]
    clips = [np.zeros((0, facts.clip_dim), np.float32), *(t.clip[None] for t in targets)]
    with np.errstate(over="ignore"):
        columns |= {"frames": np.concatenate(frames).astype(np.float16),
                    "clips": np.concatenate(clips).astype(np.float16)}  # fmt: skip
    if not (np.isfinite(columns["frames"]).all() and np.isfinite(columns["clips"]).all()):
        raise UserError(f"{folder}: the teacher gives values beyond what half precision can hold")
    write_part(folder / part_file(NAME, shard), columns)
    return (part_file(NAME, shard),)


def finish_targets(folder: Path, shards: Sequence[int], facts: TeacherFacts, cuts: str) -> None:
    """Join the shards, and describe them last: what has no description is not whole.

    Args:
        folder: Where the shards are.
        shards: Their numbers.
        facts: Of the teacher.
        cuts: What identifies the cuts (`Corpus.cuts_id`).
    """
    join_parts(folder, NAME, [folder / part_file(NAME, shard) for shard in shards])
    write_json(folder / DESCRIPTION, {"teacher": asdict(facts), "cuts": cuts})


class TeacherTargets:
    """The targets of one teacher, by excerpt."""

    def __init__(self, folder: Path, cuts: str) -> None:
        """Map the columns of a folder to memory.

        Raises:
            UserError: It is unfinished, damaged, or of other cuts.
        """
        self.folder = folder
        if not (folder / DESCRIPTION).exists():
            raise UserError(
                f"{folder}: no finished targets in it: run `python -m recipes.distillation.targets`"
            )
        path = folder / DESCRIPTION
        content = read_object(path, teacher=dict, cuts=str)
        if content["cuts"] != cuts:
            raise UserError(f"{folder}: targets are of other cuts: run their stage on these")
        self.facts: TeacherFacts = from_plain(TeacherFacts, content["teacher"], str(path))
        self.columns = _whole_columns(folder, self.facts)
        keys = zip(*(self.columns[name].tolist() for name in _KEY), strict=True)
        self.rows = {Excerpt(*key): row for row, key in enumerate(keys)}
        self.ends: Int[np.ndarray, " excerpts"] = np.cumsum(self.columns["num_frames"])

    def frames(self, excerpt: Excerpt) -> Float[np.ndarray, "frames dim"] | None:
        """Read the frames of an excerpt, None if it has no targets."""
        row = self.rows.get(excerpt)
        if row is None:
            return None
        end, count = int(self.ends[row]), int(self.columns["num_frames"][row])
        frames: np.ndarray = self.columns["frames"][end - count : end]
        return frames

    def clip(self, excerpt: Excerpt) -> Float[np.ndarray, " clip_dim"]:
        """Read the clip vector of an excerpt, zeros if it has no targets."""
        row = self.rows.get(excerpt)
        clips: np.ndarray = self.columns["clips"]
        return np.zeros(clips.shape[1], clips.dtype) if row is None else clips[row]


_KEY = ("cut", "start", "num_samples")


def _whole_columns(folder: Path, facts: TeacherFacts) -> dict[str, np.ndarray]:
    """Map columns to memory, of which all must be as long as the others say.

    A column that is too short has a target for each excerpt all the same: another's.
    """
    columns = open_columns(folder, NAME)
    rows = len(columns.get("cut", ()))
    counts = columns.get("num_frames", np.zeros(0))
    total = int(counts.sum()) if counts.dtype.kind == "i" else 0
    expected: dict[str, tuple[str, tuple[int, ...]]]
    expected = {name: ("i", (rows,)) for name in (*_KEY, "num_frames")}
    expected |= {"clips": ("f", (rows, facts.clip_dim)), "frames": ("f", (total, facts.dim))}
    for name, (kind, shape) in expected.items():
        column = columns.get(name)
        if column is None or column.dtype.kind != kind or column.shape != shape:
            found = "missing" if column is None else f"{column.dtype} of shape {column.shape}"
            raise UserError(
                f"{folder}: column {name!r} is {found}, expected shape {shape}: damaged: run "
                "`python -m recipes.distillation.targets` again"
            )
    return columns
