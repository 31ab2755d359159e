"""Stage: what runs of code matching find and share, on pairs that they were not trained on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from audiossl.atomic_files import write_json, write_text
from audiossl.configs import plain
from audiossl.data.pair_corpus import PairCorpus
from audiossl.errors import UserError
from audiossl.methods.code_matching import CodeMatching
from audiossl.pretrained.code_matching import load_matching
from audiossl.probing.bootstrap import Interval
from audiossl.probing.pair_codes import known_words
from audiossl.probing.pair_embeddings import embed_pairs
from audiossl.probing.pair_evaluation import (
    PairEvaluation,
    PairEvaluationConfig,
    SystemScores,
    evaluate_pairs,
    seeds_of,
)
from audiossl.probing.pair_retrieval import HEADLINE_K, choose_weight
from audiossl.reports.code_examples import ExampleSource
from audiossl.reports.pair_evaluation_page import pair_evaluation_page
from recipes.stage import Resources, Stage, main


@dataclass(frozen=True, kw_only=True)
class Config(PairEvaluationConfig):
    """Evaluate runs of code matching side by side."""

    pairs: Path
    """Output of `recipes.code_matching.pairs`."""
    runs: tuple[Path, ...]
    """Outputs of `recipes.code_matching.pretrain`; the first is the control that others are
    compared with. Names that differ in a number at their end, as codes_0 and codes_1, are seeds of
    one system: it has their mean."""
    output: Path
    """Folder of scores.json and report.html."""
    where: dict[str, list[str]] = field(default_factory=dict)
    """Labels and their values of the pairs that are evaluated, as in {split: [test]}."""
    fuse_on: dict[str, list[str]] = field(default_factory=dict)
    """Labels and their values of other pairs, as in {split: [valid]}, on which the weight of ranks
    by codes beside those by embeddings is chosen; no fusion if empty."""
    alignments: dict[str, Path] = field(default_factory=dict)
    """CTM file (recording, channel, start, duration, word) of each modality of sound, for codes as
    detectors of words. Texts in characters need none."""
    cuts: tuple[Path, ...] = ()
    """Corpora that the pairs were made from, so that the report has their audio."""
    resources: Resources = Resources()
    """Device and worker processes."""


def evaluate(config: Config, stage: Stage) -> dict[str, Any]:
    """Write the scores of every system, and a page."""
    corpus = PairCorpus(config.pairs)
    rows = corpus.select(config.where)
    systems = seeds_of([path.name for path in config.runs])
    methods = {path.name: _method(path, corpus) for path in config.runs}
    embeddings = {
        name: embed_pairs(method, corpus, rows, stage.device, frames=config.aligned)
        for name, method in methods.items()
    }
    weights = _fusion_weights(config, corpus, methods, stage)
    words = known_words(corpus, rows, config.alignments)
    scores = evaluate_pairs(
        {system: [embeddings[name] for name in names] for system, names in systems.items()},
        corpus,
        rows,
        config,
        words=words,
        weights={s: [weights[n] for n in names if n in weights] for s, names in systems.items()},
    )
    write_json(stage.output / "scores.json", plain(scores))
    first_seeds = {system: embeddings[names[0]] for system, names in systems.items()}
    source = ExampleSource(corpus, rows, config.cuts, config.labels, words)
    page = pair_evaluation_page(scores, first_seeds, source)
    write_text(stage.output / "report.html", page)
    for line in summary(scores):
        stage.log.info("%s", line)
    return {"runs": {name: _headline(system) for name, system in scores.systems.items()}}


def summary(scores: PairEvaluation) -> Iterator[str]:
    """Say the main figures, a line each."""
    for name, system in scores.systems.items():
        name = f"{name} ({system.seeds} seeds)" if system.seeds > 1 else name
        for line in (*_retrieval_lines(system), *_code_lines(system)):
            yield f"{name}: {line}"
    for gain in scores.gains:
        interval = _interval(gain.difference, sign="+")
        yield f"{gain.system} above {gain.control} ({gain.condition}): R@{gain.k} {interval}"


def _method(folder: Path, corpus: PairCorpus) -> CodeMatching:
    """Load a run, and refuse one that was trained on modalities of other names or sizes."""
    matching = load_matching(folder)
    if dict(matching.modalities) != corpus.modalities:
        trained, given = (
            ", ".join(f"{name} ({facts.front}, {facts.size})" for name, facts in modalities.items())
            for modalities in (matching.modalities, corpus.modalities)
        )
        raise UserError(
            f"{folder} was trained on modalities {trained}, but {corpus.folder} has {given}: make "
            "both from the same pairs, or with the same settings"
        )
    return matching.method


def _fusion_weights(
    config: Config, corpus: PairCorpus, methods: Mapping[str, CodeMatching], stage: Stage
) -> dict[str, float]:
    """Choose the weight of each run on pairs that are not scored.

    Raises:
        UserError: They are.
    """
    if not config.fuse_on:
        return {}
    others = corpus.select(config.fuse_on)
    if np.isin(others, corpus.select(config.where)).any():
        raise UserError("fuse_on: names pairs that are scored; choose the weight on other ones")
    chosen = {
        name: choose_weight(embed_pairs(method, corpus, others, stage.device), corpus, others)
        for name, method in methods.items()
    }
    return {name: weight for name, weight in chosen.items() if weight is not None}


def _retrieval_lines(system: SystemScores) -> Iterator[str]:
    for scores in system.retrieval:
        if scores.condition.both:
            yield (
                f"R@{HEADLINE_K} {_interval(scores.recall[HEADLINE_K])}, chance "
                f"{scores.chance[HEADLINE_K]:.3f}, median rank {scores.median_rank.score:g} "
                f"({scores.condition})"
            )


def _code_lines(system: SystemScores) -> Iterator[str]:
    if system.codes is None:
        return
    each = ", ".join(f"{share:.3f}" for share in system.joint_share_of_seeds)
    seeds = f" (seeds: {each})" if system.seeds > 1 else ""
    yield f"joint code use {system.codes.figures.joint_share:.3f}{seeds}"
    for label, figures in system.codes.labels.items():
        purity, transfer = (
            " and ".join(f"{value:.3f}" for value in values)
            for values in (figures.purity, figures.transfer)
        )
        yield f"codes and {label}: purity {purity}, transfer {transfer}"
    if system.codes.localization is not None:
        overlap = system.codes.localization.overlap
        yield (
            f"places of codes on both modalities overlap by {overlap.score:.3f}, chance "
            f"{overlap.chance:.3f}"
        )


def _headline(system: SystemScores) -> dict[str, Any]:
    at_k = {str(one.condition): one.recall[HEADLINE_K].score for one in system.retrieval}
    joint = None if system.codes is None else system.codes.figures.joint_share
    return {f"recall@{HEADLINE_K}": at_k, "joint_share": joint}


def _interval(interval: Interval, sign: str = "") -> str:
    low_to_high = f"{interval.low:{sign}.3f} to {interval.high:{sign}.3f}"
    return f"{interval.score:{sign}.3f} ({low_to_high})"


if __name__ == "__main__":
    main(Config, evaluate, "recipes.code_matching.evaluate")
