"""What codes of a shared codebook stand for: purity, joint use, transfer, places.

Counts c(modality, code, label) of frames are all that most figures need. Source: Liu et al.,
"Cross-Modal Discrete Representation Learning" (ACL 2022), section 5, for precision and joint use;
transfer and agreement are ours.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from audiossl.quantization.usage import joint_share

Counts = Int[np.ndarray, "modalities codes labels"]


@dataclass(frozen=True)
class CodeFigures:
    """How codes relate to labels and to modalities."""

    joint_share: float
    """Share of the codes used at least five times that belong to every modality; NaN if none is."""
    active: float
    """Codes that any modality uses."""
    perplexity: tuple[float, ...]
    """Perplexity of each modality's codes: as many equally likely ones would be as uncertain."""
    purity: tuple[float, ...]
    """Share of each modality's frames whose label is the most frequent one of their code."""
    cluster_purity: tuple[float, ...]
    """Share of each modality's frames whose code is the most frequent one of their label; it falls
    where a label is split over codes."""
    majority: tuple[float, ...]
    """Share of the most frequent label in each modality, which is the purity of a single code."""
    shared_information: tuple[float, ...]
    """Mutual information of code and label over the label's entropy, in each modality."""
    transfer: tuple[float, ...]
    """Accuracy from each modality to the next: of naming its frames by the labels that codes have
    in the first; codes the first modality never uses are wrong."""


@dataclass(frozen=True)
class Agreement:
    """How often two modalities have the same code at the same time."""

    share: float
    """Frames that agree."""
    kappa: float
    """(share - e) / (1 - e), where e is the share that codes drawn with the frequencies of each
    modality would have; a codebook with one code has 0."""


def count_labels(
    codes: Int[np.ndarray, " frames"],
    labels: Int[np.ndarray, " frames"],
    num_codes: int,
    num_labels: int,
) -> Int[np.ndarray, "codes labels"]:
    """Count how often each code stands at each label."""
    places = codes.astype(np.int64) * num_labels + labels
    return np.bincount(places, minlength=num_codes * num_labels).reshape(num_codes, num_labels)


def code_figures(counts: Counts) -> CodeFigures:
    """Compute all figures of counts."""
    uses = counts.sum(axis=2)
    return CodeFigures(
        joint_share=float(joint_share(torch.from_numpy(uses.astype(np.float64)))),
        active=float((uses.sum(axis=0) > 0).sum()),
        perplexity=tuple(float(np.exp(_entropy(use))) for use in uses),
        purity=tuple(float(c.max(axis=1).sum() / max(c.sum(), 1)) for c in counts),
        cluster_purity=tuple(float(c.max(axis=0).sum() / max(c.sum(), 1)) for c in counts),
        majority=tuple(float(c.sum(axis=0).max() / max(c.sum(), 1)) for c in counts),
        shared_information=tuple(_shared_information(c) for c in counts),
        transfer=tuple(
            _transfer(*two) for two in zip(counts, np.roll(counts, -1, axis=0), strict=True)
        ),
    )


def agreement(
    first: Int[np.ndarray, " frames"], second: Int[np.ndarray, " frames"], tolerance: int = 0
) -> Agreement:
    """Measure how often two aligned sequences have the same code, and that above chance.

    Args:
        first: Codes of one modality.
        second: Codes of the other, frame by frame.
        tolerance: Frames that a partner may be early or late.

    Example:
        >>> agreement(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]))
        Agreement(share=0.75, kappa=0.5)
    """
    agrees = np.zeros(len(first), bool)
    for shift in range(-tolerance, tolerance + 1):
        ends = slice(max(0, -shift), len(first) - max(0, shift))
        agrees[ends] |= first[ends] == second[max(0, shift) : len(first) - max(0, -shift)]
    size = int(max(first.max(), second.max())) + 1
    rates = [np.bincount(codes, minlength=size) / len(codes) for codes in (first, second)]
    expected = 1 - (1 - float(rates[0] @ rates[1])) ** (2 * tolerance + 1)
    share = float(agrees.mean())
    kappa = 0.0 if expected > 1 - 1e-12 else (share - expected) / (1 - expected)
    return Agreement(share, kappa)


def localize(
    codes: Int[np.ndarray, " frames"], code: int, frame_rate: float
) -> list[tuple[float, float]]:
    """Find where a code fires: start and end of each run, in seconds (or tokens, at rate 1)."""
    fires = np.concatenate([[False], codes == code, [False]])
    edges = np.flatnonzero(fires[1:] != fires[:-1])
    return [
        (float(first) / frame_rate, float(last) / frame_rate)
        for first, last in zip(edges[::2], edges[1::2], strict=True)
    ]


def most_used(counts: Counts) -> Int[np.ndarray, " codes"]:
    """Order codes by the use of the modality that uses them less: joint ones first."""
    rates = counts.sum(axis=2) / np.maximum(counts.sum(axis=(1, 2), keepdims=True)[..., 0], 1)
    return np.lexsort((-rates.sum(axis=0), -rates.min(axis=0)))


def _transfer(source: np.ndarray, target: np.ndarray) -> float:
    names, known = source.argmax(axis=1), source.sum(axis=1) > 0
    right = target[np.arange(len(target)), names] * known
    return float(right.sum() / max(target.sum(), 1))


def _shared_information(counts: Int[np.ndarray, "codes labels"]) -> float:
    labels = _entropy(counts.sum(axis=0))
    if labels == 0.0:
        return 0.0
    return (labels + _entropy(counts.sum(axis=1)) - _entropy(counts.flatten())) / labels


def _entropy(counts: Float[np.ndarray, " cells"] | Int[np.ndarray, " cells"]) -> float:
    shares = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(shares * np.log(shares)).sum())
