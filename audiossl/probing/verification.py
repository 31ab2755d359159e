"""Whether two clips are of one speaker: trials, and the equal error rate.

Intervals draw speakers: a trial of one speaker counts as often as that one was drawn, a trial of
two as often as both were together.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from audiossl.atomic_files import reading
from audiossl.errors import UserError
from audiossl.probing.bootstrap import BootstrapConfig, group_weights
from audiossl.probing.metrics import Values, Weights, neg_eer, neg_min_dcf

_HELD = 2**23
"""Weights that are held at once."""
_MOST_CLIPS = 5000


@dataclass(frozen=True)
class Trials:
    """Pairs of clips, by number, and whether both are of one speaker."""

    first: Int[np.ndarray, " trials"]
    second: Int[np.ndarray, " trials"]
    same: Bool[np.ndarray, " trials"]


def read_trials(path: Path, numbers: Mapping[str, int]) -> Trials:
    """Read a list of lines "1 <clip> <clip>", 0 for clips of two speakers, as VoxCeleb's.

    Args:
        path: The list.
        numbers: Number of each clip by the name that the list has for it.

    Raises:
        UserError: A line is none, a clip is not there, or all trials are of one kind.
    """
    rows = []
    with reading(path, "list of trials"):
        lines = path.read_text("utf-8").splitlines()
    for place, line in enumerate(filter(str.strip, lines), 1):
        words = line.split()
        if len(words) != 3 or words[0] not in ("0", "1"):
            raise UserError(f"{path}, line {place}: {line[:80]!r} is not '0 or 1, clip, clip'")
        if missing := next((name for name in words[1:] if name not in numbers), None):
            raise UserError(
                f"{path}, line {place}: no clip {missing!r:.120} among those to test: mend test, "
                "or the label that names clips (trial_names)"
            )
        rows.append((numbers[words[1]], numbers[words[2]], int(words[0])))
    first, second, same = np.array(rows, np.int64).reshape(-1, 3).T
    return _checked(Trials(first, second, same.astype(bool)), str(path))


def drawn_trials(speakers: Sequence[str], most: int, seed: int = 0) -> Trials:
    """Draw pairs of clips, as many of two speakers as of one.

    Args:
        speakers: Speaker of each clip.
        most: Most pairs of a kind; all, if there are fewer. Of more than 5000 clips so many take
            part.
        seed: Random seed.

    Raises:
        UserError: No speaker has two clips, or there is but one speaker.

    Example:
        >>> trials = drawn_trials(["ann", "ann", "bob", "bob"], 100)
        >>> int(trials.same.sum()), len(trials.same)
        (2, 4)
    """
    generator = np.random.default_rng(seed)
    clips = np.sort(generator.permutation(len(speakers))[:_MOST_CLIPS])
    _, codes = np.unique(np.asarray(speakers)[clips], return_inverse=True)
    first, second = np.triu_indices(len(codes), 1)
    same = codes[first] == codes[second]
    kinds = [np.flatnonzero(kind) for kind in (same, ~same)]
    count = min(most, *map(len, kinds))
    drawn = [generator.choice(kind, count, replace=False) for kind in kinds]
    chosen = np.sort(np.concatenate(drawn))
    trials = Trials(clips[first[chosen]], clips[second[chosen]], same[chosen])
    return _checked(trials, "pairs of clips")


def _checked(trials: Trials, where: str) -> Trials:
    if not len(trials.same) or trials.same.all() or not trials.same.any():
        raise UserError(
            f"{where}: {int(trials.same.sum())} of {len(trials.same)} trials are of one speaker: "
            "an error rate needs both kinds"
        )
    return trials


def equal_error_rate(
    same: Bool[np.ndarray, " trials"], scores: Float[np.ndarray, " trials"]
) -> float:
    """Find the rate at which as many trials are accepted wrongly as rejected wrongly.

    Between thresholds, both rates are joined by straight lines, as on the ROC curve.

    Args:
        same: Whether the two clips of a trial are of one speaker.
        scores: How alike they are.

    Returns:
        NaN where there are no trials of one kind.

    Example:
        >>> equal_error_rate(np.array([True, True, False, False]), np.array([0.9, 0.4, 0.6, 0.1]))
        0.5
    """
    return float(equal_error_rates(same, scores, np.ones((1, len(same))))[0])


def equal_error_rates(
    same: Bool[np.ndarray, " trials"], scores: Float[np.ndarray, " trials"], weights: Weights
) -> Values:
    """Compute the equal error rate of every replicate, in which trials count by their weights."""
    return -neg_eer(*_columns(same, scores), weights) + 0.0


def minimum_costs(
    same: Bool[np.ndarray, " trials"], scores: Float[np.ndarray, " trials"], weights: Weights
) -> Values:
    """Compute the least detection cost of every replicate, at NIST's prior of 0.01.

    Example:
        >>> same, scores = np.array([True, False]), np.array([1.0, 0.0])
        >>> minimum_costs(same, scores, np.ones((1, 2))).tolist()
        [0.0]
    """
    return -neg_min_dcf(*_columns(same, scores), weights) + 0.0


def _columns(
    same: Bool[np.ndarray, " trials"], scores: Float[np.ndarray, " trials"]
) -> tuple[Bool[np.ndarray, "trials two"], Float[np.ndarray, "trials two"]]:
    return np.stack([~same, same], axis=1), np.stack([-scores, scores], axis=1)


def trial_weights(
    trials: Trials, speakers: Shaped[np.ndarray, " clips"], config: BootstrapConfig
) -> Iterator[Float[np.ndarray, "replicates trials"]]:
    """Draw speakers with replacement; yield how often each trial counts, some draws at a time."""
    names, codes = np.unique(speakers, return_inverse=True)
    block = max(1, _HELD // len(trials.same))
    for drawn in group_weights(names, config):
        for begin in range(0, len(drawn), block):
            counts = drawn[begin : begin + block]
            one, other = counts[:, codes[trials.first]], counts[:, codes[trials.second]]
            yield np.where(trials.same, one, one * other)
