"""Stage: before a long run, measure a few of its steps, and say what all of them will take.

Steps are those of the loop itself, on noise with random codes, in the shapes of the plan: the
bucket of median length and the longest one. From them come the time of the whole run, the peak of
memory, the largest batch that is safe, and the disk that checkpoints need. A plan that cannot work
is refused here, in a minute, and not in the middle of the night.

What trials do not have is reckoned: the means of weights; and, where parameters are sharded over
more ranks than are at work, what each rank of the run holds of them.
"""

import dataclasses
import math
import os
import resource
import shutil
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from audiossl import distributed
from audiossl.atomic_files import write_json
from audiossl.audio.frame_rates import num_whole_frames
from audiossl.batches import CodeBatch
from audiossl.configs import Count, Positive
from audiossl.data.coded_cuts import CodedCuts
from audiossl.data.plan import Plan, PlanConfig, Position
from audiossl.data.reading import SAMPLE_RATE
from audiossl.errors import UserError
from audiossl.training.checkpoints import FOLDER
from audiossl.training.loop import LoopResources, Place, train
from recipes.spear import pretrain
from recipes.stage import Stage, main

SAFE = 0.9
"""Share of the memory that a run may use."""
STEPS = 4
"""Steps of each trial; the first is not timed."""
STATES = 16
"""Bytes of a parameter, its gradient and two moments, in float32."""
MEANS = 16
"""Bytes of the two means of a weight, in float64."""
GATHERED = 12
"""Bytes of a parameter that is gathered: it, its gradient, and one of the unit that comes next."""


@dataclass(frozen=True, kw_only=True)
class Config(pretrain.Config):
    """Measure what a run of `recipes.spear.pretrain` with the same settings will take."""

    most_hours: Positive | None = None
    """Maximum hours of a run that is accepted."""
    memory: Positive | None = None
    """Memory of each rank in GiB; by default what the device has."""
    ranks: Count | None = None
    """Number of ranks of the run that is planned; by default those at work now. With more than one,
    the share of one rank is measured, without communication: that of sharded parameters is not
    timed."""


@dataclass(frozen=True)
class Measured:
    """What a few steps took."""

    seconds: float
    """Seconds of a step."""
    peak: float
    """Peak memory in bytes."""
    checkpoint: int
    """Size of a checkpoint in bytes."""


@dataclass(frozen=True)
class Forecast:
    """What a run will take."""

    seconds_per_step: float
    hours: float
    audio_hours_per_hour: float
    """Hours of audio per hour, padding included, over all ranks."""
    peak_gib: float
    memory_gib: float
    largest_batch_duration: float
    """Seconds of audio a step, of all ranks, that `SAFE` of the memory can hold."""
    disk_gib: float
    free_disk_gib: float
    load_seconds: float
    """Seconds to read a rank's share of a batch, in one process."""


def preflight(config: Config, stage: Stage) -> dict[str, Any]:
    """Measure, forecast, refuse."""
    source = pretrain.coded_cuts(config)
    ranks = config.ranks or distributed.world_size()
    _check_shares(source, config, ranks)
    middle, longest = len(source.plan.padded) // 2, len(source.plan.padded) - 1
    small = _trial(config, source, stage, _shape(source, longest, ranks, divide=2))
    whole = _trial(config, source, stage, _shape(source, longest, ranks))
    usual = _trial(config, source, stage, _shape(source, middle, ranks))
    forecast = _forecast(config, source, stage, ranks, small=small, whole=whole, usual=usual)
    figures = dataclasses.asdict(forecast)
    stage.log.info(" ".join(f"{name}={value:.4g}" for name, value in figures.items()))
    if distributed.is_first():
        write_json(stage.output / "forecast.json", figures)
    check(forecast, config)
    return figures


def check(forecast: Forecast, config: Config) -> None:
    """Refuse a run that cannot work.

    Raises:
        UserError: It needs more memory, disk or time than there is, and what to change.
    """
    if forecast.peak_gib > SAFE * forecast.memory_gib:
        parts = 2 ** math.ceil(math.log2(forecast.peak_gib / (SAFE * forecast.memory_gib)))
        raise UserError(
            f"a step needs {forecast.peak_gib:.1f} GiB, and {SAFE:.0%} of "
            f"{forecast.memory_gib:.1f} GiB are safe: set plan.batch_duration to at most "
            f"{forecast.largest_batch_duration:.0f}, or loop.accumulate to "
            f"{config.loop.accumulate * parts}, or encoder.checkpoint_stacks to true"
        )
    if forecast.disk_gib > forecast.free_disk_gib:
        raise UserError(
            f"checkpoints need {forecast.disk_gib:.1f} GiB, and {forecast.free_disk_gib:.1f} GiB "
            f"of disk are free at {config.output}: free some, or lower resources.keep"
        )
    if config.most_hours is not None and forecast.hours > config.most_hours:
        fitting = int(config.loop.steps * config.most_hours / forecast.hours)
        raise UserError(
            f"{config.loop.steps} steps of {forecast.seconds_per_step:.2f} s take "
            f"{forecast.hours:.1f} h, more than most_hours {config.most_hours:g}: set loop.steps "
            f"to at most {fitting}, or take more ranks"
        )


def _check_shares(source: CodedCuts, config: Config, ranks: int) -> None:
    mixing = pretrain.mixing_of(config)
    block = mixing.block if mixing.wants_utterances else 1
    unit = ranks * config.loop.accumulate * block
    smallest = int(source.plan.batch_sizes.min())
    if any(size % unit for size in source.plan.batch_sizes.tolist()):
        raise UserError(
            f"batches of {smallest} cuts and more cannot be shared by {ranks} ranks x "
            f"{config.loop.accumulate} parts x blocks of {block}: set plan.multiple to {unit}"
        )


def _shape(source: CodedCuts, bucket: int, ranks: int, divide: int = 1) -> tuple[int, int]:
    """Rows of one rank, and samples, of the batches of a bucket."""
    rows = int(source.plan.batch_sizes[bucket]) // ranks
    return max(1, rows // divide), int(source.plan.padded[bucket])


class _Noise:
    """A `BatchSource` of one shape, which notes when batches are asked for."""

    def __init__(self, config: Config, source: CodedCuts, rows: int, samples: int) -> None:
        self.times: list[float] = []
        self.fields, self.rows, self.samples = source.fields, rows, samples
        self.noisy = pretrain.mixing_of(config).wants_noise
        settings = PlanConfig(batch_size=rows, num_buckets=1)
        self.plan = Plan(np.full(rows, samples), SAMPLE_RATE, settings)

    def load(self, position: Position, rank: int = 0, world_size: int = 1) -> CodeBatch:  # noqa: ARG002
        """Draw a batch; each rank has one of the whole shape."""
        self.times.append(time.monotonic())
        rows, seconds = self.rows, self.samples / SAMPLE_RATE
        codes = {
            name: torch.randint(
                0, facts.codebook_size,
                (rows, num_whole_frames(seconds, facts.frame_rate), facts.num_codebooks),
            )
            for name, facts in self.fields.items()
        }  # fmt: skip
        sound = 0.1 * torch.randn(rows, self.samples)
        return CodeBatch(
            sound, torch.full((rows,), self.samples), torch.arange(rows) % 2, codes,
            0.1 * torch.randn(rows, self.samples) if self.noisy else None,
        )  # fmt: skip


def _trial(config: Config, source: CodedCuts, stage: Stage, shape: tuple[int, int]) -> Measured:
    """Train for a few steps in a folder that is removed again."""
    folder = stage.output / "trial"
    _reset_peak(stage.device)
    noise = _Noise(config, source, *_even(shape, config))
    loop = dataclasses.replace(config.loop, steps=STEPS, averaging=None)
    method = pretrain.build(config, source)
    resources = LoopResources(keep=1, sharding=config.resources.sharding)
    train(method, noise, loop, Place(folder, stage.device, resources, stage.log))
    seconds = statistics.median(np.diff(noise.times[1:]).tolist())
    sizes = [path.stat().st_size for path in (folder / FOLDER).rglob("*") if path.is_file()]
    distributed.barrier()
    if distributed.is_first():
        shutil.rmtree(folder)
    distributed.barrier()
    return Measured(seconds, _peak(stage.device), sum(sizes))


def _even(shape: tuple[int, int], config: Config) -> tuple[int, int]:
    """Let a trial have a multiple of the parts and partners that its rows are put into."""
    unit = config.loop.accumulate * pretrain.mixing_of(config).block
    return max(unit, shape[0] // unit * unit) * distributed.world_size(), shape[1]


def _forecast(
    config: Config,
    source: CodedCuts,
    stage: Stage,
    ranks: int,
    *,
    small: Measured,
    whole: Measured,
    usual: Measured,
) -> Forecast:
    batches = source.plan.epoch(0)
    padded = source.plan.padded / SAMPLE_RATE
    lengths = padded[batches.buckets]
    middle, longest = padded[len(padded) // 2], padded[-1]
    slope = (whole.seconds - usual.seconds) / max(longest - middle, 1e-9)
    seconds = float(np.maximum(usual.seconds + slope * (lengths - middle), 0.0).mean())
    audio = float((lengths * source.plan.batch_sizes[batches.buckets]).mean())
    rows, _ = _even(_shape(source, len(padded) - 1, ranks), config)
    fewer, _ = _even(_shape(source, len(padded) - 1, ranks, divide=2), config)
    per_row = max(0.0, whole.peak - small.peak) / max(1, rows - fewer)
    memory = config.memory * 2**30 if config.memory else _memory(stage.device)
    reckoned = reckon(config, source, ranks)
    peak = whole.peak + reckoned.memory
    # Gradients, moments and the means of weights do not grow with the batch.
    fixed = peak - per_row * rows
    room = (SAFE * memory - fixed) / per_row if per_row else math.inf
    largest = max(0.0, room) * longest * ranks * config.loop.accumulate
    started = time.monotonic()
    source.load(Position(), 0, ranks)
    keep = config.resources.keep + 1
    return Forecast(
        seconds_per_step=seconds,
        hours=seconds * config.loop.steps / 3600,
        audio_hours_per_hour=audio / seconds,
        peak_gib=peak / 2**30,
        memory_gib=memory / 2**30,
        largest_batch_duration=min(largest, 1e9),
        disk_gib=(whole.checkpoint + reckoned.checkpoint) * keep / 2**30,
        free_disk_gib=shutil.disk_usage(stage.output).free / 2**30,
        load_seconds=time.monotonic() - started,
    )


@dataclass(frozen=True)
class Reckoned:
    """What a rank of the run has more than one of the trials, or less."""

    memory: float
    """Memory in bytes."""
    checkpoint: int
    """Size of a checkpoint in bytes, of all ranks."""


def reckon(config: Config, source: CodedCuts, ranks: int) -> Reckoned:
    """Count the means of weights, and the shards of `ranks` ranks instead of those at work."""
    with torch.device("meta"):
        method = pretrain.build(config, source)
    encoder: Any = method.encoder
    means = MEANS * _count(encoder) if config.loop.averaging else 0
    if config.resources.sharding == "none":
        return Reckoned(means, means)
    here = distributed.world_size()
    shards = STATES * _count(method) * (1 / ranks - 1 / here)
    gathered = GATHERED * max(map(_count, encoder.units), default=_count(method))
    return Reckoned(means / ranks + shards + (gathered if ranks > here == 1 else 0), means)


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _memory(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[1])
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _peak(device: torch.device) -> float:
    """Peak of memory: of a process there is no other than since its start."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_reserved(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


if __name__ == "__main__":
    main(Config, preflight, "recipes.spear.preflight")
