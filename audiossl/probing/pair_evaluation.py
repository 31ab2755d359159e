"""Systems of code matching side by side: retrieval, gains over the first, what codes stand for.

A system is one run or the mean of several seeds.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Int

from audiossl.configs import Count
from audiossl.data.pair_corpus import PairCorpus
from audiossl.errors import UserError
from audiossl.probing.bootstrap import BootstrapConfig
from audiossl.probing.pair_codes import SharedCodes, Words, shared_codes
from audiossl.probing.pair_embeddings import PairEmbeddings
from audiossl.probing.pair_retrieval import (
    RecallGain,
    RetrievalScores,
    draw_pools,
    rank_pairs,
    recall_gains,
    retrieval_scores,
)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class PairEvaluationConfig:
    """What is scored, and against what."""

    labels: tuple[str, ...] = ()
    """Labels that codes are compared with; the frames of a clip inherit them."""
    hard: str = ""
    """Label that all candidates of a hard pool share with the query: a song, a speaker."""
    pool: Count = 1000
    """Number of pairs to choose from; with more, several draws of so many."""
    draws: Count = 5
    """Number of draws, where there are more pairs than the pool holds."""
    aligned: bool = False
    """Whether both modalities lie on one time axis at one frame rate: codes are then compared frame
    by frame, and localized."""
    bootstrap: BootstrapConfig = BootstrapConfig()
    """Intervals, over the pairs' groups."""


@dataclass(frozen=True)
class SystemScores:
    """One system."""

    seeds: int
    """Runs that everything is the mean of."""
    retrieval: tuple[RetrievalScores, ...]
    codes: SharedCodes | None
    """None without a codebook."""
    joint_share_of_seeds: tuple[float, ...]
    """Joint use of codes in each seed."""
    fusion_weights: tuple[float, ...]
    """Weight of ranks by codes in each seed, chosen on other pairs."""


@dataclass(frozen=True)
class PairEvaluation:
    """Everything that was measured."""

    pairs: int
    concepts: int
    systems: Mapping[str, SystemScores]
    gains: Sequence[RecallGain]
    """Above the embeddings of the first system."""


def evaluate_pairs(
    systems: Mapping[str, Sequence[PairEmbeddings]],
    corpus: PairCorpus,
    rows: Int[np.ndarray, " chosen"],
    config: PairEvaluationConfig,
    *,
    words: Words,
    weights: Mapping[str, Sequence[float]],
) -> PairEvaluation:
    """Score systems on pairs that they were not trained on.

    Args:
        systems: Embeddings under every seed of each system; the first is the control.
        corpus: The pairs.
        rows: Which of them were embedded.
        config: What is scored.
        words: Of each pair, for modalities of which they are known.
        weights: Fusion weight of every seed of a system; nothing is fused where it has none.
    """
    draws = draw_pools(len(rows), config.pool, config.draws, config.bootstrap.seed)
    ranks = {}
    for name, seeds in systems.items():
        own: Sequence[float | None] = weights.get(name) or [None] * len(seeds)
        of_seeds = [
            rank_pairs(run, corpus, rows, hard=config.hard, draws=draws, weight=weight)
            for run, weight in zip(seeds, own, strict=True)
        ]
        ranks[name] = {key: [of_seed[key] for of_seed in of_seeds] for key in of_seeds[0]}

    def codes_of(run: PairEmbeddings) -> SharedCodes | None:
        return shared_codes(
            run, corpus, rows, labels=config.labels, aligned=config.aligned, words=words
        )

    scores = {
        name: _system(
            tuple(map(codes_of, seeds)),
            retrieval_scores(ranks[name], config.bootstrap),
            tuple(weights.get(name, ())),
        )
        for name, seeds in systems.items()
    }
    concepts = len(np.unique(corpus.concepts[rows]))
    return PairEvaluation(len(rows), concepts, scores, recall_gains(ranks, config.bootstrap))


def seeds_of(names: Sequence[str]) -> dict[str, list[str]]:
    """Put runs together whose names differ in a number at their end; one alone keeps its name.

    Raises:
        UserError: Two runs have one name.

    >>> seeds_of(["codes_0", "codes_1", "none_0"])
    {'codes': ['codes_0', 'codes_1'], 'none_0': ['none_0']}
    """
    if len(set(names)) < len(names):
        raise UserError(f"runs {', '.join(names)}: their folders need different names")
    systems: dict[str, list[str]] = {}
    for name in names:
        systems.setdefault(re.sub(r"_\d+$", "", name), []).append(name)
    return {name if len(seeds) > 1 else seeds[0]: seeds for name, seeds in systems.items()}


def mean_of(results: Sequence[T]) -> T:
    """Average results field by field; of what has no mean, such as a list of words, keep the first.

    What is undefined (NaN) in one result, such as joint use without common codes, is the mean of
    the others.

    >>> mean_of([{"purity": (0.5, math.nan)}, {"purity": (1.0, 0.25)}])
    {'purity': (0.75, 0.25)}
    """
    mean: T = _mean(results)
    return mean


def _mean(values: Sequence[Any]) -> Any:
    first = values[0]
    if len(values) == 1:
        return first
    if is_dataclass(first) and not isinstance(first, type):
        return replace(first, **_mean([vars(value) for value in values]))
    if isinstance(first, Mapping):
        return {key: _mean([value[key] for value in values]) for key in first}
    if isinstance(first, tuple) and all(isinstance(item, (int, float)) for item in first):
        return tuple(_mean(items) for items in zip(*values, strict=True))
    if not isinstance(first, (int, float)):
        return first
    defined = [value for value in values if math.isfinite(value)]
    return float(np.mean(defined)) if defined else math.nan


def _system(
    codes: tuple[SharedCodes | None, ...],
    retrieval: tuple[RetrievalScores, ...],
    weights: tuple[float, ...],
) -> SystemScores:
    shares = tuple(each.figures.joint_share for each in codes if each is not None)
    return SystemScores(len(codes), retrieval, mean_of(codes), shares, weights)
