"""Retrieval of a clip's other modality among pairs: by embedding, by codes, and by both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, permutations
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from audiossl.data.pair_corpus import PairCorpus
from audiossl.probing.bootstrap import BootstrapConfig, Interval
from audiossl.probing.pair_embeddings import PairEmbeddings
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

Similarity = Literal["embeddings", "codes", "fused"]
"""Cosine of embeddings; agreement of code histograms; or the ranks of both, added."""
WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0)
"""Weights of the ranks by codes beside those by embeddings, to choose from."""
HEADLINE_K = 10
"""Recall at this k chooses fusion weights and compares systems."""


@dataclass(frozen=True)
class Condition:
    """A similarity, by which queries of one modality rank candidates of another."""

    by: Similarity
    pool: str
    """Candidates of a query: "all", or "same <label>" as the query's."""
    query: str
    """Modality of the queries."""
    candidate: str
    """Modality of the candidates."""
    both: bool = False
    """Whether queries of both directions are counted together."""

    @property
    def direction(self) -> str:
        """Say from what to what.

        >>> Condition("codes", "all", "speech", "text").direction
        'speech to text'
        """
        joint = f"{self.query} and {self.candidate}, both ways"
        return joint if self.both else f"{self.query} to {self.candidate}"

    def __str__(self) -> str:
        return f"{self.by}, {self.pool}, {self.direction}"


@dataclass(frozen=True)
class RetrievalScores:
    """Retrieval of a system, averaged over its seeds, under one condition."""

    condition: Condition
    queries: int
    recall: Mapping[int, Interval]
    """Recall at k, by k."""
    chance: Mapping[int, float]
    """Recall at k of a random order."""
    median_rank: Interval
    mean_rank: float
    mean_reciprocal_rank: float


@dataclass(frozen=True)
class RecallGain:
    """Recall of a system above that of the control's embeddings, on the same queries."""

    system: str
    control: str
    condition: Condition
    k: int
    difference: Interval


def rank_pairs(
    embeddings: PairEmbeddings,
    corpus: PairCorpus,
    rows: Int[np.ndarray, " chosen"],
    *,
    hard: str,
    draws: Sequence[Int[np.ndarray, " drawn"]],
    weight: float | None = None,
) -> dict[Condition, Ranks]:
    """Rank by embeddings, by codes and by both, in both directions, from easy and hard pools.

    Args:
        embeddings: The pairs as a method embeds them.
        corpus: The pairs.
        rows: Which of them were embedded.
        hard: Label that all candidates of a hard pool share with the query; no such pool if empty.
        draws: Which of the embedded pairs are queries and candidates together.
        weight: Of ranks by codes beside those by embeddings; nothing is fused if None.
    """
    concepts = corpus.concepts[rows]
    groups = np.array([corpus.rows[row]["group"] for row in rows])
    pools: dict[str, Bool[np.ndarray, "pairs pairs"] | None] = {"all": None}
    if hard:
        values = np.array([corpus.rows[row]["labels"].get(hard, "") for row in rows])
        pools[f"same {hard}"] = values[:, None] == values
    result: dict[Condition, list[Ranks]] = {}
    for query, candidate in permutations(embeddings.modalities, 2):
        for pool, mask in pools.items():
            for draw in draws:
                grid = np.ix_(draw, draw)
                relevant = concepts[draw, None] == concepts[draw]
                allowed = None if mask is None else mask[grid]
                scores = _similarities(embeddings, query, candidate, draw, weight)
                for by, similarity in scores.items():
                    ranks = rank_queries(similarity, relevant, groups[draw], allowed)
                    one_way = Condition(by, pool, query, candidate)
                    for condition in (one_way, _both_ways(one_way, embeddings)):
                        result.setdefault(condition, []).append(ranks)
    return {condition: joined(parts) for condition, parts in result.items()}


def choose_weight(
    embeddings: PairEmbeddings, corpus: PairCorpus, rows: Int[np.ndarray, " chosen"]
) -> float | None:
    """Choose by R@10 how much ranks by codes weigh; None without codes, the least of equals."""
    if any(modality.log_distributions is None for modality in embeddings.modalities.values()):
        return None
    draws = [np.arange(len(rows))]
    recalls = []
    for weight in WEIGHTS:
        ranks = rank_pairs(embeddings, corpus, rows, hard="", draws=draws, weight=weight)
        hits = [r.ranks <= HEADLINE_K for c, r in ranks.items() if c.by == "fused" and c.both]
        recalls.append(float(np.concatenate(hits).mean()))
    return WEIGHTS[int(np.argmax(recalls))]


def draw_pools(count: int, pool: int, draws: int, seed: int) -> list[Int[np.ndarray, " drawn"]]:
    """Draw pools of pairs; all pairs, once, where there are no more than a pool holds.

    Example:
        >>> [pool.shape for pool in draw_pools(5, pool=3, draws=2, seed=0)]
        [(3,), (3,)]
    """
    if count <= pool:
        return [np.arange(count)]
    generator = np.random.default_rng(seed)
    return [generator.choice(count, pool, replace=False) for _ in range(draws)]


def retrieval_scores(
    ranks: Mapping[Condition, Sequence[Ranks]], config: BootstrapConfig
) -> tuple[RetrievalScores, ...]:
    """Score the ranks of a system's seeds, with chance and intervals, where there are queries."""
    return tuple(
        RetrievalScores(
            condition=condition,
            queries=len(seeds[0].ranks),
            recall={k: recall(seeds, k, config) for k in KS},
            chance={k: seeds[0].chance(k) for k in KS},
            median_rank=median_rank(seeds, config),
            mean_rank=float(np.mean([of_seed.ranks.mean() for of_seed in seeds])),
            mean_reciprocal_rank=float(np.mean([(1 / of_seed.ranks).mean() for of_seed in seeds])),
        )
        for condition, seeds in ranks.items()
        if len(seeds[0].ranks)
    )


def recall_gains(
    ranks: Mapping[str, Mapping[Condition, Sequence[Ranks]]], config: BootstrapConfig
) -> list[RecallGain]:
    """Compare every system with the first one's embeddings, on the same queries, seed by seed."""
    control, *others = ranks
    gains = []
    for system in others:
        for condition, seeds in ranks[system].items():
            base = ranks[control][replace(condition, by="embeddings")]
            comparable = condition.both and condition.by != "codes" and len(base) == len(seeds)
            if comparable and len(base[0].ranks):
                gain = recall_difference(seeds, base, HEADLINE_K, config)
                gains.append(RecallGain(system, control, condition, HEADLINE_K, gain))
    return gains


def _both_ways(condition: Condition, embeddings: PairEmbeddings) -> Condition:
    directed = {condition.query, condition.candidate}
    first, second = next(
        pair for pair in combinations(embeddings.modalities, 2) if set(pair) == directed
    )
    return replace(condition, query=first, candidate=second, both=True)


def _similarities(
    embeddings: PairEmbeddings,
    query: str,
    candidate: str,
    draw: Int[np.ndarray, " drawn"],
    weight: float | None,
) -> dict[Similarity, Float[np.ndarray, "queries candidates"]]:
    """Score the drawn clips of one modality against those of another."""
    one, other = embeddings.modalities[query], embeddings.modalities[candidate]
    result: dict[Similarity, np.ndarray] = {"embeddings": one.clips[draw] @ other.clips[draw].T}
    if one.log_distributions is not None and other.log_distributions is not None:
        p, q = one.log_distributions[draw], other.log_distributions[draw]
        result["codes"] = np.exp(p) @ q.T + p @ np.exp(q).T
        if weight is not None:
            result["fused"] = fused(result["embeddings"], result["codes"], weight)
    return result
