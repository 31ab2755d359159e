"""Stage: what runs of code matching find and share, on pairs that they were not trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from audiossl.data.pair_corpus import PairCorpus
from audiossl.errors import UserError
from audiossl.probing.bootstrap import BootstrapConfig, Interval
from audiossl.probing.retrieval import (
    KS,
    Ranks,
    joined,
    median_rank,
    rank_queries,
    recall,
    recall_difference,
)
from audiossl.probing.shared_codes import agreement, code_figures, count_labels
from audiossl.whole import write_json
from recipes.code_matching.embedded import Embedded, embed_pairs
from recipes.code_matching.page import write_page
from recipes.stage import Resources, Stage, main


@dataclass(frozen=True, kw_only=True)
class Config:
    """Evaluate runs of code matching side by side."""

    pairs: Path
    """Output of `recipes.code_matching.pairs`."""
    runs: tuple[Path, ...]
    """Outputs of `recipes.code_matching.pretrain`; the first is the control that others are
    compared with."""
    output: Path
    """Where scores.json and report.html go."""
    where: dict[str, list[str]] = field(default_factory=dict)
    """Which pairs: labels and their values, as in {split: [test]}."""
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
    frame."""
    bootstrap: BootstrapConfig = BootstrapConfig()
    """Intervals, over the pairs' groups."""
    cuts: tuple[Path, ...] = ()
    """What the pairs were made from, so that the report can be listened to."""
    resources: Resources = Resources()
    """What to work with."""


def evaluate(config: Config, stage: Stage) -> dict[str, Any]:
    """Write the scores of every run, and a page."""
    corpus = PairCorpus(config.pairs)
    rows = corpus.select(config.where)
    names = [path.name for path in config.runs]
    if len(set(names)) < len(names):
        raise UserError(f"runs {', '.join(names)}: their folders need different names")
    found = {
        name: embed_pairs(path, corpus, rows, stage.device)
        for name, path in zip(names, config.runs, strict=True)
    }
    ranks = {name: retrieval(run, corpus, rows, config) for name, run in found.items()}
    scores: dict[str, Any] = {
        "pairs": len(rows),
        "concepts": len(np.unique(corpus.concepts[rows])),
        "runs": {
            name: {
                "retrieval": {key: _scored(r, config.bootstrap) for key, r in ranks[name].items()},
                "codes": shared_codes(run, corpus, rows, config),
            }
            for name, run in found.items()
        },
        "differences": _differences(ranks, config.bootstrap),
    }
    write_json(stage.output / "scores.json", scores)
    write_page(stage.output, scores, found, corpus, rows, cuts=config.cuts)
    for line in summary(scores):
        stage.log.info("%s", line)
    return {"runs": {name: _headline(run) for name, run in scores["runs"].items()}}


def retrieval(
    run: Embedded, corpus: PairCorpus, rows: Int[np.ndarray, " chosen"], config: Config
) -> dict[str, Ranks]:
    """Rank by embeddings and by codes, in both directions, from easy and hard pools.

    Returns:
        "<what>, <pool>, <query> to <candidate>", and both directions together, to its ranks.
    """
    concepts = corpus.concepts[rows]
    groups = np.array([corpus.rows[row]["group"] for row in rows])
    pools: dict[str, np.ndarray | None] = {"all": None}
    if config.hard:
        values = np.array([corpus.rows[row]["labels"].get(config.hard, "") for row in rows])
        pools[f"same {config.hard}"] = values[:, None] == values
    draws = _draws(len(rows), config)
    result: dict[str, Ranks] = {}
    for first, second in combinations(run.sides, 2):
        for what, scores in similarities(run, first, second).items():
            for pool, mask in pools.items():
                ways = {f"{first} to {second}": scores, f"{second} to {first}": scores.T}
                parts = {
                    way: joined([_drawn(s, concepts, groups, mask, d) for d in draws])
                    for way, s in ways.items()
                }
                parts["both"] = joined(list(parts.values()))
                result |= {f"{what}, {pool}, {way}": part for way, part in parts.items()}
    return result


def similarities(
    run: Embedded, first: str, second: str
) -> dict[str, Float[np.ndarray, "pairs pairs"]]:
    """Score all clips of one side against all of the other: by embedding, and by codes."""
    one, other = run.sides[first], run.sides[second]
    result = {"embeddings": one.clips @ other.clips.T}
    if one.distributions is not None and other.distributions is not None:
        p, q = one.distributions, other.distributions
        result["codes"] = np.exp(p) @ q.T + p @ np.exp(q).T
    return result


def shared_codes(
    run: Embedded, corpus: PairCorpus, rows: Int[np.ndarray, " chosen"], config: Config
) -> dict[str, Any]:
    """Compare the codes of the sides with each other, and with labels."""
    if any(not side.codes for side in run.sides.values()):
        return {}
    result: dict[str, Any] = {"labels": {}}
    everything = np.zeros(len(rows), np.int64)
    result |= asdict(code_figures(_counts(run, everything)))
    for kept in ("purity", "majority", "shared_information", "transfer"):
        result.pop(kept)
    for label in config.labels:
        values = [corpus.rows[row]["labels"].get(label, "") for row in rows]
        numbers = np.unique(values, return_inverse=True)[1]
        result["labels"][label] = asdict(code_figures(_counts(run, numbers)))
    if config.aligned:
        result["agreement"] = _agreement(run)
    return result


def summary(scores: Mapping[str, Any]) -> list[str]:
    """Say the main figures, a line each."""
    lines = []
    for name, run in scores["runs"].items():
        for key, found in run["retrieval"].items():
            if key.endswith(", both"):
                at10 = found["recall@10"]
                lines.append(
                    f"{name}: R@10 {_said(at10)}, chance {found['chance@10']:.3f}, median rank "
                    f"{found['median_rank']['score']:g} ({key.removesuffix(', both')})"
                )
        if run["codes"]:
            lines.append(f"{name}: joint code use {run['codes']['joint_share']:.3f}")
        for label, figures in run["codes"].get("labels", {}).items():
            said = ", ".join(f"{key} {_rounded(figures[key])}" for key in ("purity", "transfer"))
            lines.append(f"{name}: codes and {label}: {said}")
    for key, found in scores["differences"].items():
        lines.append(f"{key}: R@10 {_said(found, sign='+')}")
    return lines


def _drawn(
    scores: Float[np.ndarray, "pairs pairs"],
    concepts: Int[np.ndarray, " pairs"],
    groups: np.ndarray,
    mask: Bool[np.ndarray, "pairs pairs"] | None,
    draw: Int[np.ndarray, " drawn"],
) -> Ranks:
    """Rank the queries of one draw among the candidates of the same draw."""
    grid = np.ix_(draw, draw)
    relevant = concepts[draw, None] == concepts[draw]
    return rank_queries(scores[grid], relevant, groups[draw], None if mask is None else mask[grid])


def _draws(count: int, config: Config) -> list[Int[np.ndarray, " drawn"]]:
    if count <= config.pool:
        return [np.arange(count)]
    generator = np.random.default_rng(config.bootstrap.seed)
    return [generator.choice(count, config.pool, replace=False) for _ in range(config.draws)]


def _scored(found: Ranks, config: BootstrapConfig) -> dict[str, Any]:
    if not len(found.ranks):
        return {"queries": 0}
    scores: dict[str, Any] = {"queries": len(found.ranks)}
    for k in KS:
        scores[f"recall@{k}"] = asdict(recall(found, k, config))
        scores[f"chance@{k}"] = found.chance(k)
    scores["median_rank"] = asdict(median_rank(found, config))
    scores["mean_rank"] = float(found.ranks.mean())
    scores["mean_reciprocal_rank"] = float((1.0 / found.ranks).mean())
    return scores


def _differences(
    ranks: Mapping[str, Mapping[str, Ranks]], config: BootstrapConfig
) -> dict[str, dict[str, float]]:
    """Compare every run with the first, on the same queries, by embeddings."""
    control, *others = ranks
    return {
        f"{name} above {control} ({key.removesuffix(', both')})": asdict(
            recall_difference(ranks[name][key], ranks[control][key], 10, config)
        )
        for name in others
        for key in ranks[control]
        if key.startswith("embeddings") and key.endswith("both") and len(ranks[name][key].ranks)
    }


def _counts(run: Embedded, labels: Int[np.ndarray, " pairs"]) -> np.ndarray:
    size, num_labels = run.codebook_size, int(labels.max()) + 1
    return np.stack(
        [
            count_labels(
                np.concatenate(side.codes),
                np.repeat(labels, [len(codes) for codes in side.codes]),
                size,
                num_labels,
            )
            for side in run.sides.values()
        ]
    )


def _agreement(run: Embedded) -> dict[str, dict[str, float]]:
    """Compare codes frame by frame, exactly and with a neighbor's leeway."""
    first, second = list(run.sides.values())[:2]
    if [len(codes) for codes in first.codes] != [len(codes) for codes in second.codes]:
        raise UserError(
            "aligned: the sides have other numbers of frames; leave it out, or bring both to one "
            "frame rate (encoders.*.convolutions.strides)"
        )
    one, other = (np.concatenate(side.codes) for side in (first, second))
    found = {f"within {t}": agreement(one, other, t) for t in (0, 1)}
    return {key: {"share": share, "kappa": kappa} for key, (share, kappa) in found.items()}


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
