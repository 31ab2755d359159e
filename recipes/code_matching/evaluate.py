"""Stage: what runs of code matching find and share, on pairs that they were not trained on."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from audiossl.data.pair_corpus import PairCorpus
from audiossl.errors import UserError
from audiossl.probing.bootstrap import BootstrapConfig, Interval
from audiossl.whole import write_json
from recipes.code_matching.cards import Shown
from recipes.code_matching.codes import known_words, shared_codes
from recipes.code_matching.embedded import embed_pairs
from recipes.code_matching.page import write_page
from recipes.code_matching.ranking import (
    choose_weight,
    differences,
    draw_pools,
    rank_pairs,
    recalls,
    shortened,
)
from recipes.stage import Resources, Stage, main


@dataclass(frozen=True, kw_only=True)
class Config:
    """Evaluate runs of code matching side by side."""

    pairs: Path
    """Output of `recipes.code_matching.pairs`."""
    runs: tuple[Path, ...]
    """Outputs of `recipes.code_matching.pretrain`; the first is the control that others are
    compared with. Names that differ in a number at their end, as codes_0 and codes_1, are seeds of
    one system: it has their mean."""
    output: Path
    """Where scores.json and report.html go."""
    where: dict[str, list[str]] = field(default_factory=dict)
    """Which pairs: labels and their values, as in {split: [test]}."""
    fuse_on: dict[str, list[str]] = field(default_factory=dict)
    """On which other pairs the weight of ranks by codes is chosen that are added to those by
    embeddings, as in {split: [valid]}; nothing is added if empty."""
    labels: tuple[str, ...] = ()
    """Labels that codes are compared with; the frames of a clip inherit them."""
    hard: str = ""
    """Label that all candidates of a hard pool share with the query: a song, a speaker."""
    pool: int = 1000
    """Pairs to choose from; with more, several draws of so many."""
    draws: int = 5
    """Draws, where there are more pairs than the pool holds."""
    aligned: bool = False
    """Whether both sides lie on one time axis at one frame rate: codes are then compared frame by
    frame, and localized."""
    alignments: dict[str, Path] = field(default_factory=dict)
    """Side of sound to a CTM file (recording, channel, start, duration, word), for codes as
    detectors of words. Texts in characters need none."""
    bootstrap: BootstrapConfig = BootstrapConfig()
    """Intervals, over the pairs' groups."""
    cuts: tuple[Path, ...] = ()
    """What the pairs were made from, so that the report can be listened to."""
    resources: Resources = Resources()
    """What to work with."""


def evaluate(config: Config, stage: Stage) -> dict[str, Any]:
    """Write the scores of every system, and a page."""
    corpus = PairCorpus(config.pairs)
    rows = corpus.select(config.where)
    systems = seeds_of([path.name for path in config.runs])
    paths = {path.name: path for path in config.runs}
    found = {
        name: embed_pairs(path, corpus, rows, stage.device, frames=config.aligned)
        for name, path in paths.items()
    }
    weights = _fusion_weights(config, corpus, paths, stage)
    draws = draw_pools(len(rows), config.pool, config.draws, config.bootstrap.seed)
    ranks = {
        name: rank_pairs(
            run, corpus, rows, hard=config.hard, draws=draws, weight=weights.get(name)
        )
        for name, run in found.items()
    }  # fmt: skip
    by_system = {
        system: {key: [ranks[name][key] for name in names] for key in ranks[names[0]]}
        for system, names in systems.items()
    }
    words = known_words(corpus, rows, config.alignments)
    codes = {
        name: shared_codes(
            run, corpus, rows, labels=config.labels, aligned=config.aligned, words=words
        )
        for name, run in found.items()
    }
    scores: dict[str, Any] = {
        "pairs": len(rows),
        "concepts": len(np.unique(corpus.concepts[rows])),
        "runs": {
            system: {
                "seeds": len(names),
                "retrieval": {
                    key: recalls(seeds, config.bootstrap)
                    for key, seeds in by_system[system].items()
                },
                "codes": averaged([codes[name] for name in names]),
                "joint_share_of_seeds": [codes[n]["joint_share"] for n in names if codes[n]],
                "fusion_weights": [weights[name] for name in names if name in weights],
            }
            for system, names in systems.items()
        },
        "differences": differences(by_system, config.bootstrap),
    }
    write_json(stage.output / "scores.json", scores)
    shown = {system: found[names[0]] for system, names in systems.items()}
    show = Shown(corpus, rows, config.cuts, config.labels, words)
    write_page(stage.output, scores, shown, show)
    for line in summary(scores):
        stage.log.info("%s", line)
    return {"runs": {name: _headline(run) for name, run in scores["runs"].items()}}


def seeds_of(names: Sequence[str]) -> dict[str, list[str]]:
    """Put runs together whose names differ in a number at their end; one alone keeps its name.

    Raises:
        UserError: Two runs have one name.
    """
    if len(set(names)) < len(names):
        raise UserError(f"runs {', '.join(names)}: their folders need different names")
    systems: dict[str, list[str]] = {}
    for name in names:
        systems.setdefault(re.sub(r"_\d+$", "", name), []).append(name)
    return {
        system if len(seeds) > 1 else seeds[0]: seeds for system, seeds in systems.items()
    }  # fmt: skip


def averaged(figures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Average numbers that stand at the same place; of what has no mean, the first is kept."""
    return {key: _averaged([each[key] for each in figures]) for key in figures[0]}


def _averaged(values: Sequence[Any]) -> Any:
    first = values[0]
    if len(values) == 1:
        return first
    if isinstance(first, Mapping):
        return averaged(values)
    if isinstance(first, tuple) and all(isinstance(item, (int, float)) for item in first):
        return [_averaged(items) for items in zip(*values, strict=True)]
    if not isinstance(first, (int, float)):
        return first
    # What is undefined for one seed (no code in common, say) is that of the others.
    defined = [value for value in values if np.isfinite(value)]
    return float(np.mean(defined)) if defined else float("nan")


def _fusion_weights(
    config: Config, corpus: PairCorpus, paths: Mapping[str, Path], stage: Stage
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
        name: choose_weight(embed_pairs(path, corpus, others, stage.device), corpus, others)
        for name, path in paths.items()
    }
    return {name: weight for name, weight in chosen.items() if weight is not None}


def summary(scores: Mapping[str, Any]) -> list[str]:
    """Say the main figures, a line each."""
    lines = []
    for name, run in scores["runs"].items():
        name = f"{name} ({run['seeds']} seeds)" if run["seeds"] > 1 else name
        for key, found in run["retrieval"].items():
            if key.rpartition(", ")[2].startswith("both") and found["queries"]:
                at10 = found["recall@10"]
                lines.append(
                    f"{name}: R@10 {_said(at10)}, chance {found['chance@10']:.3f}, median rank "
                    f"{found['median_rank']['score']:g} ({shortened(key)})"
                )
        if run["codes"]:
            each = ", ".join(f"{share:.3f}" for share in run["joint_share_of_seeds"])
            seeds = f" (seeds: {each})" if run["seeds"] > 1 else ""
            lines.append(f"{name}: joint code use {run['codes']['joint_share']:.3f}{seeds}")
        for label, figures in run["codes"].get("labels", {}).items():
            said = ", ".join(f"{key} {_rounded(figures[key])}" for key in ("purity", "transfer"))
            lines.append(f"{name}: codes and {label}: {said}")
        overlap = run["codes"].get("localization", {}).get("overlap")
        if overlap:
            lines.append(
                f"{name}: places of codes on both sides overlap by {overlap['score']:.3f}, "
                f"chance {overlap['chance']:.3f}"
            )
    for key, found in scores["differences"].items():
        lines.append(f"{key}: R@10 {_said(found, sign='+')}")
    return lines


def _headline(run: Mapping[str, Any]) -> dict[str, Any]:
    at10 = {key: v["recall@10"]["score"] for key, v in run["retrieval"].items() if "recall@10" in v}
    return {"recall@10": at10, "joint_share": run["codes"].get("joint_share")}


def _said(found: Mapping[str, float] | Interval, sign: str = "") -> str:
    values = found if isinstance(found, Mapping) else asdict(found)
    return f"{values['score']:{sign}.3f} ({values['low']:{sign}.3f} to {values['high']:{sign}.3f})"


def _rounded(values: Sequence[float]) -> str:
    return " and ".join(f"{value:.3f}" for value in values)


if __name__ == "__main__":
    main(Config, evaluate, "recipes.code_matching.evaluate")
