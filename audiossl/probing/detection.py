"""Sound events found in recordings: collar-based and segment-based scores.

Source: Mesaros et al. (2016), "Metrics for Polyphonic Sound Event Detection", as sed_eval has it
(the most matches of events, counted over all classes).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.ndimage import median_filter
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from audiossl.probing.segments import Segment

Probabilities = Float[np.ndarray, "frames classes"]
SLACK = 1e-9
"""Seconds by which sums of decimal fractions may be off."""


@dataclass(frozen=True)
class Counts:
    """Hits and faults of one recording or of many."""

    hits: float = 0.0
    inserted: float = 0.0
    missed: float = 0.0

    @property
    def f1(self) -> tuple[float, float]:
        """Numerator and denominator of the F1 score, which add up over recordings."""
        return 2 * self.hits, 2 * self.hits + self.inserted + self.missed


def events_of(
    probabilities: Probabilities,
    period: float,
    classes: Sequence[str],
    *,
    threshold: float = 0.5,
    median: float = 0.0,
    start: float = 0.0,
) -> list[Segment]:
    """Find the runs of frames above a threshold.

    Args:
        probabilities: Of every class in frames.
        period: Seconds of a frame.
        classes: Name of each column.
        threshold: What a frame of an event exceeds.
        median: Seconds of a median filter over the decisions; 0 for none.
        start: Seconds at the beginning of the first frame.

    Example:
        >>> events_of(np.array([[0.1], [0.9], [0.8], [0.2]]), 0.5, ["dog"])
        [Segment(begin=0.5, end=1.5, name='dog')]
    """
    active = probabilities > threshold
    if (width := round(median / period)) > 1:
        active = median_filter(active.astype(np.uint8), (width + 1 - width % 2, 1)) > 0
    edges = np.diff(np.pad(active.astype(np.int8), ((1, 1), (0, 0))), axis=0)
    found = []
    for column, name in enumerate(classes):
        begins, ends = (np.flatnonzero(edges[:, column] == sign) for sign in (1, -1))
        found += [
            Segment(max(0.0, start + float(begin * period)), start + float(end * period), name)
            for begin, end in zip(begins, ends, strict=True)
        ]
    return found


def event_counts(
    reference: Sequence[Segment],
    found: Sequence[Segment],
    *,
    collar: float = 0.2,
    offset_share: float | None = 0.2,
) -> Counts:
    """Match events of one class whose onsets, and offsets, are within a collar.

    Args:
        reference: True events.
        found: Detected events.
        collar: Seconds.
        offset_share: Share of the length of the true event by which its offset may be off, where
            that is more than the collar; None: offsets do not count.

    Example:
        >>> event_counts([Segment(1.0, 2.0, "dog")], [Segment(1.1, 1.9, "dog")])
        Counts(hits=1.0, inserted=0.0, missed=0.0)
    """
    fits = np.zeros((len(reference), len(found)), bool)
    for row, true in enumerate(reference):
        room = max(collar, (offset_share or 0.0) * (true.end - true.begin))
        for column, one in enumerate(found):
            begins = abs(true.begin - one.begin) <= collar + SLACK
            ends = offset_share is None or abs(true.end - one.end) <= room + SLACK
            fits[row, column] = true.name == one.name and begins and ends
    hits = 0
    if fits.any():
        hits = int((maximum_bipartite_matching(csr_matrix(fits), perm_type="column") >= 0).sum())
    return Counts(float(hits), float(len(found) - hits), float(len(reference) - hits))


@dataclass(frozen=True)
class SegmentErrors:
    """Hits and errors in pieces of one length."""

    counts: Counts
    errors: float
    """Substitutions, deletions and insertions."""
    active: float
    """Pieces times the classes that sound in them."""


def segment_errors(
    reference: Sequence[Segment], found: Sequence[Segment], length: float = 1.0
) -> SegmentErrors:
    """Compare which classes sound in each piece of `length` seconds.

    Example:
        >>> segment_errors([Segment(1.0, 2.0, "dog")], [Segment(1.4, 2.6, "dog")]).counts
        Counts(hits=1.0, inserted=1.0, missed=0.0)
    """
    true, other = _pieces(reference, length), _pieces(found, length)
    errors = 0
    for piece in {number for number, _ in true | other}:
        here, there = ({name for n, name in all_ if n == piece} for all_ in (true, other))
        errors += max(len(here), len(there)) - len(here & there)
    counts = Counts(float(len(true & other)), float(len(other - true)), float(len(true - other)))
    return SegmentErrors(counts, float(errors), float(len(true)))


def _pieces(events: Sequence[Segment], length: float) -> set[tuple[int, str]]:
    """Number the pieces that each event touches."""
    return {
        (piece, event.name)
        for event in events
        for piece in range(
            int(np.floor(event.begin / length + SLACK)), int(np.ceil(event.end / length - SLACK))
        )
    }
