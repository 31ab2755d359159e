"""Stage: train speaker vectors on frames of frozen encoders, and verify unknown speakers by them.

An x-vector network on a sum of all layers with learned weights learns to tell the speakers of
training apart, for every learning rate and seed. The rate is chosen on pairs of cuts of validation
speakers; the trials of test speakers are scored once, by cosines.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from audiossl import distributed
from audiossl.atomic_files import check_name, read_json, write_json, write_text
from audiossl.batches import to_device
from audiossl.configs import Count
from audiossl.data.labeled_cuts import LabeledConfig, LabeledCuts, LabelSource
from audiossl.data.plan import PlanConfig
from audiossl.errors import UserError
from audiossl.methods.speaker_vectors import SpeakerConfig, SpeakerVectors
from audiossl.methods.supervised import facts_of
from audiossl.pretrained.load import load_encoder
from audiossl.probing.bootstrap import percentiles, run_weights
from audiossl.probing.layer_cache import CachedLayers, LayerSource
from audiossl.probing.verification import (
    Trials,
    drawn_trials,
    equal_error_rates,
    minimum_costs,
    read_trials,
    trial_weights,
)
from audiossl.reports.sequences import sequence_markdown, sequence_page
from audiossl.training.loop import LoopConfig
from recipes.probe.frames import cached_layers, frame_rows
from recipes.probe.head_runs import HeadRuns, HeadsConfig, differences_of
from recipes.stage import Stage, main
from recipes.supervised import SECONDS_AT_ONCE

NOTE = (
    "Encoders are frozen; x-vector networks read a sum of all layers with learned weights. "
    "Learning rates are chosen on validation speakers, test trials are scored once, by cosines. "
    "Ranges are of bootstrap draws of whole speakers and of seeds."
)
FIGURES = {"eer": equal_error_rates, "min_dcf": minimum_costs}
"""Figures of trials by name, the one that rates are chosen by first."""
_ANY = 1e9


@dataclass(frozen=True, kw_only=True)
class Config(HeadsConfig):
    """Train speaker vectors on frozen encoders and verify speakers by them."""

    train: LabeledConfig
    """Cuts to train on, and the label that names speakers."""
    valid: dict[str, list[str]] = field(default_factory=lambda: {"split": ["valid"]})
    """Labels and their values of the cuts whose pairs rates are chosen on."""
    test: dict[str, list[str]] = field(default_factory=lambda: {"split": ["test"]})
    """Labels and their values of the cuts of the trials."""
    trials: Path | None = None
    """List of trials, a line each: 1 (one speaker) or 0, and the names of two cuts; null: pairs of
    test cuts are drawn."""
    trial_names: str = "id"
    """Label of cuts that the list names them by."""
    pairs: Count = 20000
    """Maximum number of pairs that are drawn, of one speaker and of two each."""
    method: SpeakerConfig = field(default_factory=SpeakerConfig)
    """Network and its training."""
    plan: PlanConfig
    """Composition of batches."""
    loop: LoopConfig
    """Training loop: steps, optimizer, precision and records."""


@dataclass(frozen=True)
class _Tested:
    """Cuts of speakers to verify, and their trials."""

    source: LabelSource
    trials: Trials

    @property
    def speakers(self) -> np.ndarray:
        """Name the speaker of each cut."""
        return np.array([label[0] for label in self.source.cuts.labels])

    def __str__(self) -> str:
        """Count trials and speakers."""
        count, same = len(self.trials.same), int(self.trials.same.sum())
        return f"{count} trials of {len(set(self.speakers))} speakers ({same} of one speaker)"


@dataclass(frozen=True)
class _Data:
    """Cuts of training, validation and test."""

    train: LabelSource
    speakers: list[str]
    valid: _Tested
    test: _Tested


@dataclass(frozen=True)
class _Job:
    """One encoder."""

    config: Config
    data: _Data
    encoder: nn.Module
    cache: CachedLayers | None
    folder: Path
    stage: Stage

    def source(self, one: LabelSource) -> LabelSource | LayerSource:
        """Read frames where they are cached, and waveforms otherwise."""
        return one if self.cache is None else LayerSource(one, self.cache)

    def method(self) -> SpeakerVectors:
        """Make an untrained network."""
        encoder = self.encoder if self.cache is None else None
        count, facts = len(self.data.speakers), facts_of(self.encoder)
        return SpeakerVectors(encoder, self.config.method, count, facts).to(self.stage.device)

    @property
    def runs(self) -> HeadRuns:
        """Name what all runs have in common."""
        config = self.config
        return HeadRuns(
            self.folder, config.loop, config.steps, config.resources, self.stage, self.method
        )

    def scores(self, method: SpeakerVectors, tested: _Tested) -> np.ndarray:
        """Compute the cosine of each trial."""
        method.eval()
        source, cuts = self.source(tested.source), tested.source.cuts
        vectors: dict[int, np.ndarray] = {}
        for items in cuts.in_order(SECONDS_AT_ONCE):
            width = int(cuts.lengths[items].max())
            rows = method.vectors(to_device(source.batch(items, width), self.stage.device))
            vectors |= dict(zip(items, rows.cpu().numpy(), strict=True))
        whole = np.stack([vectors[item] for item in range(len(vectors))]).astype(np.float64)
        trials = tested.trials
        return np.einsum("td,td->t", whole[trials.first], whole[trials.second])


def verify_speakers(config: Config, stage: Stage) -> dict[str, Any]:
    """Train and choose all networks, score the trials, and write the table."""
    _check(config)
    data, rows = _data(config), []
    for one in frame_rows(config.encoders, config.baselines):
        encoder = load_encoder(one.source).to(stage.device)
        sources = (data.train, data.valid.source, data.test.source)
        cuts = sorted({int(cut) for source in sources for cut in source.cuts.cuts})
        corpus, place = data.train.cuts.corpus, config.output / "frames" / one.name
        cache = cached_layers(place, corpus, cuts, encoder, stage, most=config.most_cached)
        job = _Job(config, data, encoder, cache, config.output / "runs" / one.name, stage)
        rows.append({"encoder": one.name, "role": one.role, **_measured(job)})
        stage.log.info("%s: EER %.4f", one.name, rows[-1]["scores"]["eer"])
    if distributed.is_first():
        table = _table(config, data, rows)
        write_json(config.output / "scores.json", {"format": 1, "tasks": [table]})
        write_text(config.output / "results.md", sequence_markdown([table], NOTE))
        page = sequence_page([table], NOTE, "Speaker verification")
        write_text(config.output / "report.html", page)
    return {"rows": len(rows), "trials": len(data.test.trials.same)}


def _check(config: Config) -> None:
    if not (config.encoders and config.seeds):
        raise UserError("encoders and seeds: name at least one of each")
    for name in config.encoders:
        check_name(name, "name")
    if config.loop.averaging:
        raise UserError("loop.averaging is of the weights of encoders")
    if config.train.unlabeled:
        raise UserError("train.unlabeled: cuts without a speaker teach nothing here")


def _data(config: Config) -> _Data:
    """Find the cuts, and refuse speakers who are in two splits."""
    train = LabeledCuts(config.cuts, config.train)
    speakers = sorted({label[0] for label in train.labels})
    if len(speakers) < 2:
        raise UserError(f"training cuts have {len(speakers)} speaker: nothing to tell apart")
    places = {speaker: number for number, speaker in enumerate(speakers)}
    numbers = [np.array([places[label[0]]]) for label in train.labels]
    valid, test = _tested(config, config.valid), _tested(config, config.test, config.trials)
    groups = {
        "train": set(speakers), "valid": set(valid.speakers.tolist()),
        "test": set(test.speakers.tolist()),
    }  # fmt: skip
    for one, other in (("train", "valid"), ("train", "test"), ("valid", "test")):
        if shared := groups[one] & groups[other]:
            raise UserError(
                f"{len(shared)} speakers are in {one} and in {other} ({min(shared)}, ...), and "
                "only unknown ones tell what verification is worth: mend train.where, valid, test"
            )
    return _Data(LabelSource(train, numbers, config.plan), speakers, valid, test)


def _tested(config: Config, where: dict[str, list[str]], trials: Path | None = None) -> _Tested:
    # Trials are of whole cuts, however short or long.
    chosen = dataclasses.replace(config.train, where=where, min_duration=0.0, max_duration=_ANY)
    cuts = LabeledCuts(config.cuts, chosen)
    source = LabelSource(cuts, [np.zeros(1, np.int64)] * len(cuts.cuts), config.plan)
    if trials is None:
        return _Tested(source, drawn_trials([label[0] for label in cuts.labels], config.pairs))
    labels = list(cuts.corpus.labels())
    names = [labels[int(cut)].get(config.trial_names, "") for cut in cuts.cuts]
    numbers = {name: number for number, name in enumerate(names)}
    return _Tested(source, read_trials(trials, numbers))


def _measured(job: _Job) -> dict[str, Any]:
    """Train networks of every rate and seed, and score those of the rate that validates best."""
    done = job.folder / "row.json"
    if done.exists():
        content: dict[str, Any] = read_json(done)
        return content
    config = job.config
    rates = config.rates or (config.loop.optimizer.rate,)
    valid = {rate: float(np.mean([_run(job, rate, s) for s in config.seeds])) for rate in rates}
    rate = min(valid, key=lambda one: valid[one])
    scores = [job.scores(job.runs.loaded(rate, seed), job.data.test) for seed in config.seeds]
    replicates = _replicates(job, scores)
    row = {
        "scores": {name: float(np.mean(_plain(job.data.test, scores, name))) for name in FIGURES},
        "intervals": {
            name: percentiles(values, config.bootstrap) for name, values in replicates.items()
        },
        "choice": {"rate": rate},
        "validation": valid[rate],
        "rates": {f"{one:g}": score for one, score in valid.items()},
        "layer_weights": job.runs.layer_shares(rate, config.seeds),
    }
    if distributed.is_first():
        write_json(job.folder / "replicates.json", replicates["eer"].tolist())
        write_json(job.folder / "trial_scores.json", np.round(scores, 6).tolist())
        write_json(done, row)
    distributed.barrier()
    return row


def _run(job: _Job, rate: float, seed: int) -> float:
    """Train a network, unless it is there; return the error rate of validation pairs."""
    train, tested = job.data.train, job.data.valid
    plan = dataclasses.replace(train.plan.config, seed=seed)

    def score(method: SpeakerVectors) -> list[float]:
        return _plain(tested, [job.scores(method, tested)], "eer")

    source = job.source(LabelSource(train.cuts, train.targets, plan))
    return job.runs.trained(rate, seed, source, score)[0]


def _plain(tested: _Tested, scores: list[np.ndarray], figure: str) -> list[float]:
    """Compute a figure of each seed."""
    same = tested.trials.same
    ones = np.ones((1, len(same)))
    return [float(FIGURES[figure](same, one, ones)[0]) for one in scores]


def _replicates(job: _Job, scores: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Compute the figures of every draw of speakers and seeds."""
    tested, config = job.data.test, job.config.bootstrap
    parts: dict[str, list[np.ndarray]] = {name: [] for name in FIGURES}
    for weights in trial_weights(tested.trials, tested.speakers, config):
        for name, figure in FIGURES.items():
            parts[name].append(np.stack([figure(tested.trials.same, s, weights) for s in scores]))
    runs = run_weights(len(scores), config)
    return {
        name: (np.concatenate(values, axis=1) * runs).sum(axis=0) for name, values in parts.items()
    }


def _table(config: Config, data: _Data, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Describe the trials with the rows, each compared with the first on the same draws."""

    def drawn(row: Mapping[str, Any]) -> np.ndarray:
        return np.array(read_json(config.output / "runs" / row["encoder"] / "replicates.json"))

    return {
        "name": "verification",
        "metric": "eer",
        "less_is_better": True,
        "facts": f"{len(data.train.cuts.cuts)} cuts of {len(data.speakers)} speakers to learn "
        f"from, {data.valid} to choose on, {data.test} to score",
        "rows": rows,
        "differences": list(differences_of(rows, "eer", drawn, config.bootstrap)),
    }


if __name__ == "__main__":
    main(Config, verify_speakers, "recipes.probe.verification")
