"""Sound events found in recordings: collar-based, segment-based and intersection-based scores.

Sources: Mesaros et al. (2016), "Metrics for Polyphonic Sound Event Detection", as sed_eval has it
(the most matches of events, counted over all classes); Bilen et al. (2020), "A Framework for the
Robust Evaluation of Sound Event Detection", for the PSDS, whose curves are made of every score that
occurs, as by Ebbers et al. (2022), or of as many quantiles of them as `most_points`.
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
_SLACK = 1e-9
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
            begins = abs(true.begin - one.begin) <= collar + _SLACK
            ends = offset_share is None or abs(true.end - one.end) <= room + _SLACK
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
            int(np.floor(event.begin / length + _SLACK)), int(np.ceil(event.end / length - _SLACK))
        )
    }


@dataclass(frozen=True, kw_only=True)
class Psds:
    """What counts as detected, and what faults cost."""

    detection: float
    """Share of a detection that true events of its class must cover (DTC)."""
    truth: float
    """Share of a true event that such detections must cover (GTC)."""
    cross: float | None = None
    """Share of a detection that another class must cover to be a cross-trigger (CTTC)."""
    cross_cost: float = 0.0
    """Weight of cross-triggers (alpha_CT)."""
    spread_cost: float = 1.0
    """Weight of the deviation over classes (alpha_ST)."""
    most_faults: float = 100.0
    """False alarms an hour at which curves end."""


PSDS1 = Psds(detection=0.7, truth=0.7)
"""Scenario 1 of DCASE task 4: when it sounds."""
PSDS2 = Psds(detection=0.1, truth=0.1, cross=0.3, cross_cost=0.5)
"""Scenario 2: what sounds."""


@dataclass(frozen=True)
class Scored:
    """A recording with its true events and the probabilities that a detector gives."""

    events: Sequence[Segment]
    probabilities: Probabilities
    period: float
    """Seconds of a frame."""
    start: float = 0.0
    """Seconds at the beginning of the first frame."""


def psds(
    recordings: Sequence[Scored], classes: Sequence[str], settings: Psds, most_points: int = 200
) -> float:
    """Compute the area under the curve of hits against false alarms an hour, in [0, 1].

    Args:
        recordings: What was detected, and what is true.
        classes: Name of each column of probabilities; each must occur among the true events.
        settings: What counts.
        most_points: Thresholds of each class, at most.

    Example:
        >>> right = Scored([Segment(0.0, 1.0, "dog")], np.array([[0.9], [0.1]]), 1.0)
        >>> psds([right], ["dog"], PSDS1)
        1.0
    """
    curves = [
        _curve(recordings, classes, column, settings, most_points) for column in range(len(classes))
    ]
    ends = np.unique(np.concatenate([faults for faults, _ in curves] + [[0.0]]))
    ends = ends[ends < settings.most_faults]
    rates = np.stack([_at(faults, hits, ends) for faults, hits in curves])
    effective = rates.mean(axis=0) - settings.spread_cost * rates.std(axis=0)
    widths = np.diff(np.append(ends, settings.most_faults))
    return float((np.maximum(effective, 0.0) * widths).sum() / settings.most_faults)


def _at(faults: np.ndarray, hits: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Read a curve of steps: the most hits for no more faults than at a place."""
    order = np.argsort(faults, kind="stable")
    best = np.maximum.accumulate(np.append(0.0, hits[order]))
    return best[np.searchsorted(faults[order], places, side="right")]


def _curve(
    recordings: Sequence[Scored],
    classes: Sequence[str],
    column: int,
    settings: Psds,
    most_points: int,
) -> tuple[np.ndarray, np.ndarray]:
    """List faults an hour and the share of true events that are hit, for each threshold."""
    scores = np.unique(np.concatenate([r.probabilities[:, column] for r in recordings]))
    if len(scores) > most_points:
        scores = np.unique(np.quantile(scores, np.linspace(0, 1, most_points), method="nearest"))
    hours = sum(len(r.probabilities) * r.period for r in recordings) / 3600
    seconds = {
        name: sum(e.end - e.begin for r in recordings for e in r.events if e.name == name)
        for name in classes
    }
    name = classes[column]
    total = sum(event.name == name for r in recordings for event in r.events)
    points = []
    for threshold in scores:
        hits, inserted, crossed = 0, 0, dict.fromkeys(classes, 0)
        for one in recordings:
            active = (one.probabilities[:, [column]] >= threshold).astype(float)
            found = events_of(active, one.period, [name], start=one.start)
            result = _intersected(one.events, found, name, settings)
            hits, inserted = hits + result[0], inserted + result[1]
            crossed = {other: count + result[2].get(other, 0) for other, count in crossed.items()}
        others = [crossed[o] / seconds[o] * 3600 for o in classes if o != name and seconds[o] > 0]
        cost = settings.cross_cost * float(np.mean(others)) if others else 0.0
        points.append((inserted / hours + cost, hits / max(1, total)))
    return np.array([p[0] for p in points]), np.array([p[1] for p in points])


def _intersected(
    events: Sequence[Segment], found: Sequence[Segment], name: str, settings: Psds
) -> tuple[int, int, dict[str, int]]:
    """Count true events that are hit, false alarms, and cross-triggers by class."""
    own = [event for event in events if event.name == name]
    relevant, inserted, crossed = [], 0, dict[str, int]()
    for one in found:
        length = one.end - one.begin
        if sum(_shared(one, event) for event in own) >= settings.detection * length - _SLACK:
            relevant.append(one)
            continue
        inserted += 1
        if settings.cross is not None:
            for other in {event.name for event in events} - {name}:
                covered = sum(_shared(one, event) for event in events if event.name == other)
                if covered >= settings.cross * length - _SLACK:
                    crossed[other] = crossed.get(other, 0) + 1
    hits = sum(
        sum(_shared(event, one) for one in relevant)
        >= settings.truth * (event.end - event.begin) - _SLACK
        for event in own
    )
    return hits, inserted, crossed


def _shared(one: Segment, other: Segment) -> float:
    """Seconds that two spans share."""
    return max(0.0, min(one.end, other.end) - max(one.begin, other.begin))
