"""Stage: train heads on frames of frozen encoders, choose on validation cuts, score test cuts once.

A head is trained on a sum of all layers with learned weights, for every learning rate and seed. The
rate, and for events and turns the threshold and the median filter, are chosen on validation cuts.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from audiossl import distributed
from audiossl.atomic_files import check_name, read_json, write_json, write_text
from audiossl.data.labeled_cuts import LabelSource
from audiossl.errors import UserError
from audiossl.methods.supervised import FrozenConfig, Supervised, facts_of
from audiossl.pretrained.load import load_encoder
from audiossl.probing.bootstrap import percentiles, ratio_replicates
from audiossl.probing.layer_cache import CachedLayers, LayerSource
from audiossl.probing.sequence_tasks import (
    ERRORS,
    Answers,
    DecodingConfig,
    deciding_figure,
    figures_of,
    sums_of,
)
from audiossl.reports.sequences import sequence_markdown, sequence_page
from recipes.probe.frames import cached_layers, frame_rows
from recipes.probe.head_runs import HeadRuns, HeadsConfig, differences_of
from recipes.probe.sequence_task import SequenceTaskConfig, groups_of, splits_of
from recipes.stage import Stage, main
from recipes.supervised import Splits, answers_of, write_answers


@dataclass(frozen=True, kw_only=True)
class Config(HeadsConfig):
    """Train heads on frozen encoders and score them."""

    tasks: tuple[SequenceTaskConfig, ...]
    """Tasks, each with its head."""


@dataclass(frozen=True)
class _Job:
    """One task on one encoder."""

    config: Config
    task: SequenceTaskConfig
    splits: Splits
    encoder: nn.Module
    cache: CachedLayers | None
    folder: Path
    stage: Stage

    def source(self, one: LabelSource) -> LabelSource | LayerSource:
        """Read frames where they are cached, and waveforms otherwise."""
        return one if self.cache is None else LayerSource(one, self.cache)

    def method(self) -> Supervised:
        """Make an untrained head."""
        encoder = self.encoder if self.cache is None else None
        outputs = self.splits.targets.outputs
        facts = facts_of(self.encoder)
        made = Supervised(encoder, self.task.method, outputs, facts, FrozenConfig())
        return made.to(self.stage.device)

    @property
    def runs(self) -> HeadRuns:
        """Name what all runs have in common."""
        config = self.config
        return HeadRuns(
            self.folder, self.task.loop, config.steps, config.resources, self.stage, self.method
        )

    def answers(self, method: Supervised, split: str) -> Answers:
        """Answer for the cuts of a split."""
        source = self.source(self.splits.others[split])
        targets = self.splits.targets
        return answers_of(method, source, targets, DecodingConfig(), self.stage.device)


def probe_sequences(config: Config, stage: Stage) -> dict[str, Any]:
    """Train and choose all heads, score them, and write the tables."""
    _check_names(config)
    splits = {task.name: splits_of(config.cuts, task) for task in config.tasks}
    results: list[dict[str, Any]] = []
    for one in frame_rows(config.encoders, config.baselines):
        encoder = load_encoder(one.source).to(stage.device)
        cache = _cached(config, one.name, encoder, splits, stage)
        for task in config.tasks:
            folder = config.output / "runs" / one.name / task.name
            job = _Job(config, task, splits[task.name], encoder, cache, folder, stage)
            row = {"task": task.name, "encoder": one.name, "role": one.role, **_measured(job)}
            stage.log.info(
                "%s on %s: %s %.4f", task.name, one.name, task.metric, row["scores"][task.metric]
            )
            results.append(row)
    if distributed.is_first():
        tables = [_table(config, task, splits[task.name], results) for task in config.tasks]
        write_json(config.output / "scores.json", {"format": 1, "tasks": tables})
        write_text(config.output / "results.md", sequence_markdown(tables))
        write_text(config.output / "report.html", sequence_page(tables))
    return {"tasks": len(config.tasks), "rows": len(results)}


def _check_names(config: Config) -> None:
    if not (config.tasks and config.encoders and config.seeds):
        raise UserError("tasks, encoders and seeds: name at least one of each")
    names = [task.name for task in config.tasks]
    for name in (*names, *config.encoders):
        check_name(name, "name")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"tasks: the name {twice[0]!r} is there twice")
    for task in config.tasks:
        if task.loop.averaging:
            raise UserError(f"task {task.name}: loop.averaging is of the weights of encoders")
        if task.method.input != "layers":
            raise UserError(
                f"task {task.name}: heads of frozen encoders read a sum of layers (method.input: "
                "layers); recipes.finetune reads outputs and clip vectors, too"
            )


def _cached(
    config: Config, name: str, encoder: Any, splits: dict[str, Splits], stage: Stage
) -> CachedLayers | None:
    """Encode the cuts of all tasks, unless that is more than disks should hold."""
    sources = [one for s in splits.values() for one in (s.train, *s.others.values())]
    cuts = sorted({int(cut) for one in sources for cut in one.cuts.cuts})
    folder = config.output / "frames" / name
    corpus, most = sources[0].cuts.corpus, config.most_cached
    return cached_layers(folder, corpus, cuts, encoder, stage, most=most)


def _measured(job: _Job) -> dict[str, Any]:
    """Train heads of every rate and seed, and score those of the rate that validates best."""
    done = job.folder / "row.json"
    if done.exists():
        content: dict[str, Any] = read_json(done)
        return content
    task = job.task
    rates = job.config.rates or (task.loop.optimizer.rate,)
    valid = {
        rate: np.mean([_run(job, rate, seed) for seed in job.config.seeds], axis=0)
        for rate in rates
    }
    sign = -1 if task.metric in ERRORS else 1
    choices = [
        (sign * float(score), rate, place)
        for rate, scores in valid.items()
        for place, score in enumerate(scores)
    ]
    best, rate, place = max(choices, key=lambda choice: choice[0])
    decoding = task.decodings[place]
    answers = [
        dataclasses.replace(job.answers(job.runs.loaded(rate, seed), "test"), decoding=decoding)
        for seed in job.config.seeds
    ]
    row = _row(job, answers) | {
        "choice": {"rate": rate, **_chosen_decoding(task, decoding)},
        "validation": sign * best,
        "rates": {f"{one:g}": (sign * (sign * scores).max()) for one, scores in valid.items()},
        "layer_weights": job.runs.layer_shares(rate, job.config.seeds),
    }
    if distributed.is_first():
        write_answers(job.folder, answers[0], row["scores"])
        write_json(done, row)
    distributed.barrier()
    return row


def _chosen_decoding(task: SequenceTaskConfig, decoding: DecodingConfig) -> dict[str, float]:
    return dataclasses.asdict(decoding) if len(task.decodings) > 1 else {}


def _run(job: _Job, rate: float, seed: int) -> list[float]:
    """Train a head, unless it is there; score validation cuts in every way of decoding."""
    task, train = job.task, job.splits.train
    plan = dataclasses.replace(train.plan.config, seed=seed)

    def score(method: Supervised) -> list[float]:
        answers = job.answers(method, "valid")
        return [
            deciding_figure(dataclasses.replace(answers, decoding=decoding))
            for decoding in task.decodings
        ]

    source = job.source(LabelSource(train.cuts, train.targets, plan))
    return job.runs.trained(rate, seed, source, score)


def _row(job: _Job, answers: Sequence[Answers]) -> dict[str, Any]:
    """Score test cuts: means over seeds, intervals where a figure is a ratio of sums."""
    sums = [sums_of(one) for one in answers]
    figures = [figures_of(one, own) for one, own in zip(answers, sums, strict=True)]
    scores = {name: float(np.mean([one[name] for one in figures])) for name in figures[0]}
    rows = {name: np.stack([one[name] for one in sums]) for name in sums[0]}
    intervals = {
        name: percentiles(
            ratio_replicates(pairs, groups_of(job.task, job.splits), job.config.bootstrap),
            job.config.bootstrap,
        )
        for name, pairs in rows.items()
    }
    if distributed.is_first():
        for name, pairs in rows.items():
            write_json(job.folder / f"sums_{name}.json", pairs.tolist())
    return {"scores": scores, "intervals": intervals}


def _table(
    config: Config, task: SequenceTaskConfig, splits: Splits, results: list[dict[str, Any]]
) -> dict[str, Any]:
    """Describe a task with its rows, each compared with the first on the same draws."""
    rows = [row for row in results if row["task"] == task.name]
    return {
        "name": task.name,
        "target": task.target,
        "metric": task.metric,
        "less_is_better": task.metric in ERRORS,
        "classes": [len(names) for names in splits.targets.classes],
        "cuts": {
            "train": len(splits.train.cuts.cuts),
            **{name: len(one.cuts.cuts) for name, one in splits.others.items()},
        },
        "rows": rows,
        "differences": list(_differences(config, task, splits, rows)),
    }


def _differences(
    config: Config, task: SequenceTaskConfig, splits: Splits, rows: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    groups = groups_of(task, splits)

    def drawn(row: Mapping[str, Any]) -> np.ndarray | None:
        folder = config.output / "runs" / row["encoder"] / task.name
        path = folder / f"sums_{task.metric}.json"
        if not path.exists():
            return None
        return ratio_replicates(np.array(read_json(path)), groups, config.bootstrap)

    return differences_of(rows, task.metric, drawn, config.bootstrap)


if __name__ == "__main__":
    main(Config, probe_sequences, "recipes.probe.sequence")
