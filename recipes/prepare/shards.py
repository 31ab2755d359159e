"""What the three ways in have in common: items become shards, shards become a corpus."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from audiossl import distributed
from audiossl.audio.listing import holds
from audiossl.configs import Count, Nonnegative, Positive, Share
from audiossl.data.items import Item
from audiossl.data.lhotse_cuts import shar_items
from audiossl.data.preparing import Durations, finish_corpus, join_cuts, write_shard
from recipes.record import digest
from recipes.shards import Outcome, Task, run_shards
from recipes.stage import Resources, Stage


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Settings that every way in has."""

    output: Path
    """Folder of the shards."""
    encoding: Literal["wav", "flac"] = "wav"
    """Encoding of the shards. wav: crops are read without decoding (115 MB an hour); flac: about
    half of that."""
    shard_size: Count = 500
    """Number of cuts in a shard."""
    min_duration: Nonnegative = 0.025
    """Minimum duration of a cut in seconds; shorter cuts are left out. One analysis window by
    default."""
    max_duration: Positive = 7200.0
    """Maximum duration of a cut in seconds; longer cuts are left out."""
    max_skipped: Share = 0.01
    """Largest share of items that may be left out before the stage fails."""
    resources: Resources = Resources()
    """Device and worker processes."""


def prepare_items(items: Sequence[Item], config: PrepareConfig, stage: Stage) -> dict[str, Any]:
    """Write items as shards of `shard_size` cuts, in their order."""
    size = config.shard_size
    pieces = [tuple(items[first : first + size]) for first in range(0, len(items), size)]
    tasks = [
        Task(index, digest([asdict(item) for item in piece]), piece, _hours(piece), _sources(piece))
        for index, piece in enumerate(pieces)
    ]
    stage.log.info("%d items in %d shards", len(items), len(tasks))
    return _prepare(tasks, config, stage)


def prepare_shar(
    shards: Sequence[Path], config: PrepareConfig, stage: Stage, *, allow_commands: bool
) -> dict[str, Any]:
    """Write each shard of a Shar folder as a shard."""
    tasks = [
        Task(index, digest([path.name, path.stat().st_size]), path, sources=_of_shar(path))
        for index, path in enumerate(shards)
    ]
    return _prepare(tasks, config, stage, allow_commands)


def _hours(items: Sequence[Item]) -> float:
    """Add up durations; 0 where one is not known."""
    known = [duration for item in items if (duration := item.known_duration) is not None]
    return sum(known) / 3600 if len(known) == len(items) else 0.0


def _sources(items: Sequence[Item]) -> tuple[Path, ...]:
    """List the files that items are read from, each once."""
    files: dict[Path, None] = {}
    for item in items:
        if not item.problem and not item.command:
            path = Path(item.source)
            files |= dict.fromkeys(sorted(path.iterdir()) if holds(path.is_dir) else [path])
    return tuple(path for path in files if holds(path.is_file))


def _of_shar(cuts: Path) -> tuple[Path, ...]:
    return cuts, cuts.with_name(f"recording.{cuts.name.split('.')[1]}.tar")


def _prepare(
    tasks: Sequence[Task], config: PrepareConfig, stage: Stage, allow_commands: bool = False
) -> dict[str, Any]:
    make_worker = partial(_worker, config, allow_commands)
    totals = run_shards(stage, tasks, make_worker, config.resources)
    if distributed.is_first():
        cuts = join_cuts(stage.output, len(tasks))
        facts = {"encoding": config.encoding, "cuts": cuts}
        finish_corpus(stage.output, len(tasks), ["recording"], facts)
    return totals


def _worker(config: PrepareConfig, allow_commands: bool) -> Callable[[Task], Outcome]:
    def work(task: Task) -> Outcome:
        items = task.payload
        if isinstance(items, Path):
            items = shar_items(items, allow_commands=allow_commands)
        durations = Durations(config.min_duration, config.max_duration)
        report = write_shard(items, config.output, task.index, config.encoding, durations)
        return Outcome(report.files, report.num_items, report.seconds / 3600, report.skipped)

    return work
