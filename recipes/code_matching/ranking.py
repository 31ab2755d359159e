"""How well clips of one side find their other sides: by embedding, by codes, and by both."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations, permutations
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from audiossl.data.pair_corpus import PairCorpus
from audiossl.probing.bootstrap import BootstrapConfig
from audiossl.probing.retrieval import (
    KS,
    Ranks,
    fused,
    joined,
    median_rank,
    rank_queries,
    recall,
    recall_difference,
)
from recipes.code_matching.embedded import Embedded

Rows = Int[np.ndarray, " chosen"]
Scores = Float[np.ndarray, "queries candidates"]
WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0)
"""Of the ranks by codes beside those by embeddings, to choose from."""


def rank_pairs(
    run: Embedded,
    corpus: PairCorpus,
    rows: Rows,
    *,
    hard: str,
    draws: Sequence[Int[np.ndarray, " drawn"]],
    weight: float | None = None,
) -> dict[str, Ranks]:
    """Rank by embeddings, by codes and by both, in both directions, from easy and hard pools.

    Args:
        run: The pairs as a method embeds them.
        corpus: The pairs.
        rows: Which of them were embedded.
        hard: Label that all candidates of a hard pool share with the query; no such pool if empty.
        draws: Which of the embedded pairs are queries and candidates together.
        weight: Of ranks by codes beside those by embeddings; nothing is fused if None.

    Returns:
        "<what>, <pool>, <query> to <candidate>", and both directions together, to its ranks.
    """
    concepts = corpus.concepts[rows]
    groups = np.array([corpus.rows[row]["group"] for row in rows])
    pools: dict[str, Bool[np.ndarray, "pairs pairs"] | None] = {"all": None}
    if hard:
        values = np.array([corpus.rows[row]["labels"].get(hard, "") for row in rows])
        pools[f"same {hard}"] = values[:, None] == values
    result: dict[str, list[Ranks]] = {}
    for first, second in permutations(run.sides, 2):
        names = next(pair for pair in combinations(run.sides, 2) if set(pair) == {first, second})
        both = "both" if len(run.sides) == 2 else f"both of {' and '.join(names)}"
        for pool, mask in pools.items():
            for draw in draws:
                grid = np.ix_(draw, draw)
                relevant = concepts[draw, None] == concepts[draw]
                allowed = None if mask is None else mask[grid]
                for what, scores in _similarities(run, first, second, grid, weight).items():
                    found = rank_queries(scores, relevant, groups[draw], allowed)
                    for way in (f"{first} to {second}", both):
                        result.setdefault(f"{what}, {pool}, {way}", []).append(found)
    return {key: joined(parts) for key, parts in result.items()}


def choose_weight(run: Embedded, corpus: PairCorpus, rows: Rows) -> float | None:
    """Choose by R@10 how much ranks by codes weigh; None without codes, the least of equals."""
    if any(side.distributions is None for side in run.sides.values()):
        return None
    draws = [np.arange(len(rows))]
    recalls = []
    for weight in WEIGHTS:
        ranks = rank_pairs(run, corpus, rows, hard="", draws=draws, weight=weight)
        hits = [r.ranks <= 10 for key, r in ranks.items() if key.startswith("fused, all, both")]
        recalls.append(float(np.concatenate(hits).mean()))
    return WEIGHTS[int(np.argmax(recalls))]


def draw_pools(count: int, pool: int, draws: int, seed: int) -> list[Int[np.ndarray, " drawn"]]:
    """Draw pools of pairs; all pairs, once, where there are no more than a pool holds."""
    if count <= pool:
        return [np.arange(count)]
    generator = np.random.default_rng(seed)
    return [generator.choice(count, pool, replace=False) for _ in range(draws)]


def recalls(seeds: Sequence[Ranks], config: BootstrapConfig) -> dict[str, Any]:
    """Score the ranks of a system's seeds, with chance and intervals."""
    first = seeds[0]
    if not len(first.ranks):
        return {"queries": 0}
    scores: dict[str, Any] = {"queries": len(first.ranks)}
    for k in KS:
        scores[f"recall@{k}"] = asdict(recall(seeds, k, config))
        scores[f"chance@{k}"] = first.chance(k)
    scores["median_rank"] = asdict(median_rank(seeds, config))
    scores["mean_rank"] = float(np.mean([found.ranks.mean() for found in seeds]))
    reciprocal = [(1.0 / found.ranks).mean() for found in seeds]
    scores["mean_reciprocal_rank"] = float(np.mean(reciprocal))
    return scores


def differences(
    ranks: Mapping[str, Mapping[str, Sequence[Ranks]]], config: BootstrapConfig
) -> dict[str, dict[str, float]]:
    """Compare every system with the first one's embeddings, on the same queries, seed by seed."""
    control, *others = ranks
    result = {}
    for name in others:
        for key, seeds in ranks[name].items():
            what, _, rest = key.partition(", ")
            base = ranks[control][f"embeddings, {rest}"]
            if what == "codes" or not _is_both(key) or not len(base[0].ranks):
                continue
            if len(base) == len(seeds):
                gain = recall_difference(seeds, base, 10, config)
                result[f"{name} above {control} ({shortened(key)})"] = asdict(gain)
    return result


def shortened(key: str) -> str:
    """Say what ranks are of, of both directions together."""
    return key.removesuffix(", both")


def _is_both(key: str) -> bool:
    return key.rpartition(", ")[2].startswith("both")


def _similarities(
    run: Embedded,
    first: str,
    second: str,
    grid: tuple[np.ndarray, ...],
    weight: float | None,
) -> dict[str, Scores]:
    """Score the drawn clips of one side against those of another."""
    one, other = run.sides[first], run.sides[second]
    queries, candidates = grid[0][:, 0], grid[1][0]
    result = {"embeddings": one.clips[queries] @ other.clips[candidates].T}
    if one.distributions is not None and other.distributions is not None:
        p, q = one.distributions[queries], other.distributions[candidates]
        result["codes"] = np.exp(p) @ q.T + p @ np.exp(q).T
        if weight is not None:
            result["fused"] = fused(result["embeddings"], result["codes"], weight)
    return result
