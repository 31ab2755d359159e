"""How well discrete units follow phones: purity, PNMI, ABX and bit rate.

Purity and phone-normalized mutual information are those of HuBERT (Hsu et al. 2021, section 4.1);
ABX is that of Schatz et al. (2013) with the distances of the ZeroSpeech challenges (angles between
frames, averaged along the path of dynamic time warping).
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

_PAIRS_AT_ONCE = 4096


@dataclass(frozen=True)
class UnitQuality:
    """How units and phones of the same frames go together."""

    phone_purity: float
    """Share of frames whose phone is the most frequent one of their unit."""
    cluster_purity: float
    """Share of frames whose unit is the most frequent one of their phone."""
    pnmi: float
    """Mutual information of phones and units over the entropy of phones: 1 if units tell phones."""
    num_frames: int
    """Frames that have a phone."""


def unit_quality(counts: Int[np.ndarray, "units phones"]) -> UnitQuality:
    """Compare units and phones.

    Args:
        counts: Frames of each unit in each phone.

    Example:
        >>> quality = unit_quality(np.array([[3, 0], [0, 4], [1, 0]]))
        >>> round(quality.pnmi, 6), quality.phone_purity, quality.cluster_purity
        (1.0, 1.0, 0.875)
    """
    total = max(1, int(counts.sum()))
    joint = counts / total
    phones, units = joint.sum(axis=0), joint.sum(axis=1)
    entropy = _entropy(phones)
    information = entropy + _entropy(units) - _entropy(joint)
    return UnitQuality(
        float(joint.max(axis=1).sum()),
        float(joint.max(axis=0).sum()),
        information / entropy if entropy > 0 else math.nan,
        int(counts.sum()),
    )


def bit_rate(codes: Sequence[Integer[np.ndarray, "_ codebooks"]], seconds: float) -> float:
    """Measure bits a second: units a second times the entropy of a unit.

    Args:
        codes: Units of each clip, with or without repeats; of several codebooks entropies add up.
        seconds: Duration of all clips.

    Example:
        >>> round(bit_rate([np.array([[0], [1], [0], [1]])], seconds=2.0), 6)
        2.0
    """
    rows = np.concatenate(list(codes))
    bits = sum(
        _entropy(np.unique(book, return_counts=True)[1] / len(rows)) for book in rows.T
    ) / math.log(2)
    return len(rows) / seconds * bits


def abx_error(
    items: Sequence[Float[np.ndarray, "_ dim"]],
    phones: Sequence[Hashable],
    speakers: Sequence[Hashable] | None = None,
    mode: Literal["within", "across", "any"] = "any",
) -> float:
    """Measure how often X, of the phone of A, is nearer to B, of another phone; ties are halves.

    Errors are averaged over triples, then over (speakers and) ordered pairs of phones.

    Args:
        items: Frames of each item, at least one.
        phones: Phone of each.
        speakers: Speaker of each; only `mode` "any" does without.
        mode: "within": all three are of one speaker; "across": X is of another; "any": whoever.

    Returns:
        A share between 0 and 1, 0.5 by chance; NaN if there is no such triple.

    Example:
        >>> one, other = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
        >>> abx_error([one, one, other, other], ["a", "a", "b", "b"])
        0.0
    """
    speakers = speakers if speakers is not None else [None] * len(items)
    groups: dict[Hashable, dict[Hashable, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, (phone, speaker) in enumerate(zip(phones, speakers, strict=True)):
        groups[None if mode == "any" else speaker][phone].append(row)
    distances = dtw_distances(items)
    cells: dict[tuple[Hashable, Hashable], list[float]] = defaultdict(list)
    for speaker, of_phone in groups.items():
        for first, second in permutations(of_phone, 2):
            others = _candidates(groups, speaker, first, mode)
            for x in filter(None, others):
                error = _cell(distances, of_phone[first], of_phone[second], x)
                if not math.isnan(error):
                    cells[first, second].append(error)
    return float(np.mean([np.mean(errors) for errors in cells.values()])) if cells else math.nan


def dtw_distances(
    items: Sequence[Float[np.ndarray, "_ dim"]],
) -> Float[np.ndarray, "items items"]:
    """Measure the distance of each pair: the mean angle (1 is opposite) along the best path."""
    normed = [item / np.maximum(np.linalg.norm(item, axis=1, keepdims=True), 1e-12)
              for item in items]  # fmt: skip
    lengths = np.array([len(item) for item in items])
    padded = np.zeros((len(items), int(lengths.max()), items[0].shape[1]), np.float32)
    for row, item in enumerate(normed):
        padded[row, : len(item)] = item
    result = np.zeros((len(items), len(items)))
    firsts, seconds = np.triu_indices(len(items), 1)
    for start in range(0, len(firsts), _PAIRS_AT_ONCE):
        one, other = firsts[start:][:_PAIRS_AT_ONCE], seconds[start:][:_PAIRS_AT_ONCE]
        cosine = np.einsum("pid,pjd->pij", padded[one], padded[other])
        angles = np.arccos(np.clip(cosine, -1.0, 1.0)) / np.pi
        result[one, other] = result[other, one] = _warped(angles, lengths[one], lengths[other])
    return result


def _candidates(
    groups: dict[Hashable, dict[Hashable, list[int]]],
    speaker: Hashable,
    phone: Hashable,
    mode: str,
) -> Iterator[list[int]]:
    """Yield groups of X for A and B of a speaker."""
    if mode != "across":
        yield groups[speaker][phone]
        return
    for other, of_phone in groups.items():
        if other != speaker and phone in of_phone:
            yield of_phone[phone]


def _cell(
    distances: Float[np.ndarray, "items items"], a: list[int], b: list[int], x: list[int]
) -> float:
    """Average over all triples of three groups in which A is not X."""
    to_a, to_b = distances[np.ix_(x, a)], distances[np.ix_(x, b)]
    distinct: Bool[np.ndarray, "x a"] = np.array(x)[:, None] != np.array(a)
    difference = to_a[:, :, None] - to_b[:, None, :]
    errors = ((difference > 1e-7) + 0.5 * (np.abs(difference) <= 1e-7)).mean(axis=2)
    return float(errors[distinct].mean()) if distinct.any() else math.nan


def _warped(
    costs: Float[np.ndarray, "pairs frames others"],
    lengths: Int[np.ndarray, " pairs"],
    others: Int[np.ndarray, " pairs"],
) -> Float[np.ndarray, " pairs"]:
    """Cost of the best path over its number of steps, of all pairs at once."""
    pairs, height, width = costs.shape
    total = np.full((height + 1, width + 1, pairs), np.inf)
    steps = np.zeros((height + 1, width + 1, pairs))
    total[0, 0] = 0.0
    for i in range(1, height + 1):
        for j in range(1, width + 1):
            # A diagonal step where it is not worse.
            before = np.stack([total[i - 1, j - 1], total[i, j - 1], total[i - 1, j]])
            counts = np.stack([steps[i - 1, j - 1], steps[i, j - 1], steps[i - 1, j]])
            chosen = before.argmin(axis=0)[None]
            total[i, j] = np.take_along_axis(before, chosen, 0)[0] + costs[:, i - 1, j - 1]
            steps[i, j] = np.take_along_axis(counts, chosen, 0)[0] + 1
    ends = (lengths, others, np.arange(pairs))
    return total[ends] / steps[ends]


def _entropy(shares: Float[np.ndarray, "..."]) -> float:
    positive = shares[shares > 0]
    return max(0.0, float(-(positive * np.log(positive)).sum()))
