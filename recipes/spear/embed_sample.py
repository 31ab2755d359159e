"""Stage: a fair sample of a teacher's frames, for a quantizer to learn from.

A random part of the corpus is encoded, shard by shard, and every shard keeps its share of the
frames in a reservoir: memory and disk are those of the sample, whatever the corpus.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Int

from audiossl import distributed
from audiossl.atomic_files import atomic_write, reserve
from audiossl.configs import Count, Positive, Whole
from audiossl.data.corpus import Corpus
from audiossl.data.reading import SAMPLE_RATE
from audiossl.errors import UserError
from audiossl.pretrained.identity import encoder_identity
from audiossl.pretrained.load import load_encoder
from audiossl.pretrained.units import describe_frames
from audiossl.quantization.reservoir import Reservoir
from recipes.record import digest
from recipes.shards import Outcome, Task, run_shards
from recipes.spear.teacher_frames import TeacherConfig, TeacherFrames
from recipes.stage import Stage, main

FRAMES = "frames.npy"
"""The sample, (frames, dim), in random order."""


@dataclass(frozen=True, kw_only=True)
class Config(TeacherConfig):
    """Keep a fair sample of a teacher's frames."""

    num_frames: Count = 1_000_000
    """Number of frames to keep; all there are if these are fewer."""
    max_hours: Positive = 100.0
    """Maximum hours of audio to encode, chosen at random, cut by cut."""
    number_type: Literal["float16", "float32"] = "float16"
    """Number type of the stored frames."""
    seed: Whole = 0
    """Random seed of the choice of cuts and frames."""


@dataclass(frozen=True)
class _Share:
    """What a shard contributes."""

    shard: int
    cuts: tuple[int, ...]
    num_frames: int


def embed_sample(config: Config, stage: Stage) -> dict[str, Any]:
    """Write frames.npy."""
    corpus = Corpus(config.cuts)
    teacher: Any = load_encoder(config.teacher)
    identity, rate, dim = encoder_identity(teacher), float(teacher.frame_rate), int(teacher.dim)
    if distributed.is_first():
        describe_frames(stage.output, config.teacher, teacher)
    del teacher
    shares = _shares(corpus, config)
    spread = corpus.shard_hours(np.concatenate([share.cuts for share in shares]))
    hours = sum(spread)
    num_frames = min(config.num_frames, int(3600 * hours * rate))
    stage.log.info(
        "%d cuts, %.2f h in %d shards are encoded; %d of %d frames of %d are kept: %.1f MiB",
        sum(len(share.cuts) for share in shares), hours, len(shares), num_frames,
        3600 * hours * rate, dim, num_frames * dim * np.dtype(config.number_type).itemsize / 2**20,
    )  # fmt: skip
    settings = (config.seed, config.number_type, config.window_duration, config.batch_duration)
    made_of = [identity, settings, config.precision, config.threads]
    tasks = [
        Task(share.shard, digest([*made_of, share]), share, spread[share.shard]) for share in shares
    ]
    totals = run_shards(stage, tasks, partial(_worker, config, str(stage.device)), config.resources)
    if distributed.is_first():
        _join(stage.output, [share.shard for share in shares], config.seed)
    return {**totals, "teacher": identity, "source": config.teacher, "dim": dim, "frame_rate": rate}


def _shares(corpus: Corpus, config: Config) -> list[_Share]:
    """Choose cuts, and spread the frames over their shards in proportion to their audio."""
    cuts = _chosen(corpus, config)
    samples = corpus.num_samples[cuts].astype(np.float64)
    ends = np.cumsum(samples) / samples.sum() * config.num_frames
    shards = corpus.shards[cuts]
    shares, before = [], 0
    for shard in np.unique(shards):
        rows = np.flatnonzero(shards == shard)
        end = round(float(ends[rows[-1]]))
        shares.append(_Share(int(shard), tuple(cuts[rows].tolist()), end - before))
        before = end
    return shares


def _chosen(corpus: Corpus, config: Config) -> Int[np.ndarray, " chosen"]:
    cuts = corpus.select(config.where)
    order = np.random.default_rng(config.seed).permutation(len(cuts))
    most = config.max_hours * 3600 * SAMPLE_RATE
    within: Bool[np.ndarray, " cuts"] = np.cumsum(corpus.num_samples[cuts[order]]) <= most
    within[0] = True
    return np.sort(cuts[order[within]])


def _worker(config: Config, device: str) -> Callable[[Task], Outcome]:
    """Load the teacher once, in the process that uses it."""
    corpus = Corpus(config.cuts)
    teacher = TeacherFrames(corpus, config, device)

    def work(task: Task) -> Outcome:
        share: _Share = task.payload
        generator = torch.Generator().manual_seed((config.seed << 32) + share.shard)
        dtype = getattr(torch, config.number_type)
        reservoir = Reservoir(share.num_frames, teacher.teacher.dim, generator, dtype)
        faults = {}
        for batch in teacher.batches(share.cuts):
            faults.update(batch.faults)
            reservoir.add(torch.cat(batch.frames))
        sample = reservoir.frames.numpy()
        if not np.isfinite(sample).all():
            raise UserError(
                f"frames of {config.teacher} reach beyond what {config.number_type} can hold: set "
                "number_type to float32"
            )
        _write_array(config.output / _part(share.shard), sample)
        skipped = tuple(
            {"id": corpus.name(cut), "reason": str(fault)} for cut, fault in sorted(faults.items())
        )
        hours = float(corpus.num_samples[list(share.cuts)].sum()) / SAMPLE_RATE / 3600
        figures = {"frames": float(len(sample)), "frames_seen": float(reservoir.seen)}
        return Outcome((_part(share.shard),), len(share.cuts), hours, skipped, figures)

    return work


def _part(shard: int) -> str:
    return f"parts/{shard:06d}.npy"


def _write_array(path: Path, array: np.ndarray) -> None:
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def _new_array(path: Path, dtype: np.dtype[Any], shape: tuple[int, int]) -> np.memmap:
    """Map a new file of numpy to memory."""
    described = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, described)
        offset = file.tell()
        reserve(file, offset + dtype.itemsize * shape[0] * shape[1])
    return np.memmap(path, dtype, "r+", offset, shape)


def _join(output: Path, shards: Sequence[int], seed: int) -> None:
    """Put the shards' frames together in random order: any first part of it is a fair sample."""
    parts = [np.load(output / _part(shard), mmap_mode="r") for shard in shards]
    ends = np.cumsum([len(part) for part in parts])
    if not ends[-1]:
        raise UserError("no frames: every cut that was chosen was left out, see skipped.jsonl")
    order = np.random.default_rng((seed, 1)).permutation(ends[-1])
    with atomic_write(output / FRAMES) as temporary:
        shape = (int(ends[-1]), parts[0].shape[1])
        whole = _new_array(temporary, parts[0].dtype, shape)
        places = np.empty_like(order)
        places[order] = np.arange(len(order))
        for part, end in zip(parts, ends, strict=True):
            whole[places[end - len(part) : end]] = part
        whole.flush()


if __name__ == "__main__":
    main(Config, embed_sample, "recipes.spear.embed_sample")
