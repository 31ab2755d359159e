"""Polyphonic sound detection score: hits against false alarms, over all thresholds of a detector.

Source: Bilen et al. (2020), "A Framework for the Robust Evaluation of Sound Event Detection".
Curves are made of every score that occurs, as by Ebbers et al. (2022), or of as many quantiles of
them as `most_points`. All recordings lie one after another on one axis of time, so that a threshold
is a few operations on arrays.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from audiossl.probing.detection import SLACK, Probabilities
from audiossl.probing.segments import Segment

Seconds = Float[np.ndarray, " edges"]


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
    timeline = _Timeline(recordings, classes)
    curves = [_curve(timeline, column, settings, most_points) for column in range(len(classes))]
    ends = np.unique(np.concatenate([faults for faults, _ in curves] + [[0.0]]))
    ends = ends[ends < settings.most_faults]
    rates = np.stack([_at(faults, hits, ends) for faults, hits in curves])
    effective = rates.mean(axis=0) - settings.spread_cost * rates.std(axis=0)
    widths = np.diff(np.append(ends, settings.most_faults))
    return float((np.maximum(effective, 0.0) * widths).sum() / settings.most_faults)


class _Timeline:
    """Recordings on one axis of time, with a frame between two of them that is never active."""

    def __init__(self, recordings: Sequence[Scored], classes: Sequence[str]) -> None:
        begins, ends, rows = [], [], []
        events: dict[str, list[tuple[float, float]]] = {name: [] for name in classes}
        offset = 0.0
        for one in recordings:
            edges = one.start + np.arange(len(one.probabilities) + 1) * one.period
            # A detection begins with the recording at the earliest.
            begins.append(offset + np.maximum(edges, 0.0))
            ends.append(offset + edges)
            rows.append(np.pad(one.probabilities, ((0, 1), (0, 0)), constant_values=-np.inf))
            for event in one.events:
                if event.name in events:
                    events[event.name].append((offset + event.begin, offset + event.end))
            offset += 1.0 + max([edges[-1], *(event.end for event in one.events)])
        self.begins: Seconds = np.concatenate(begins)
        self.ends: Seconds = np.concatenate(ends)
        self.probabilities: Probabilities = np.concatenate(rows)
        self.events = [np.array(events[name]).reshape(-1, 2) for name in classes]
        self.hours = sum(len(one.probabilities) * one.period for one in recordings) / 3600
        self.covered = [
            (_covered(self.begins, spans), _covered(self.ends, spans)) for spans in self.events
        ]
        """Of each class, the seconds of its events before each edge, as begin and as end."""


def _curve(
    timeline: _Timeline, column: int, settings: Psds, most_points: int
) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
    """List faults an hour and the share of true events that are hit, for each threshold."""
    probabilities = timeline.probabilities[:, column]
    scores = np.unique(probabilities[np.isfinite(probabilities)])
    if len(scores) > most_points:
        scores = np.unique(np.quantile(scores, np.linspace(0, 1, most_points), method="nearest"))
    points = [_point(timeline, column, probabilities >= score, settings) for score in scores]
    faults, hits = np.array(points).reshape(-1, 2).T
    return faults, hits


def _point(
    timeline: _Timeline, column: int, active: Bool[np.ndarray, " frames"], settings: Psds
) -> tuple[float, float]:
    """Count faults an hour, cross-triggers with their cost, and the share of events hit."""
    edges = np.diff(active.astype(np.int8), prepend=0)
    # The last frame is never active, so that every run ends at an edge.
    first, last = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    begins, ends = timeline.begins[first], timeline.ends[last]
    lengths = ends - begins

    def covers(other: int, share: float) -> Bool[np.ndarray, " runs"]:
        before, after = timeline.covered[other]
        return after[last] - before[first] >= share * lengths - SLACK

    relevant = covers(column, settings.detection)
    own = timeline.events[column]
    spans = np.stack([begins[relevant], ends[relevant]], axis=1)
    detected = _covered(own[:, 1], spans) - _covered(own[:, 0], spans)
    hits = (detected >= settings.truth * (own[:, 1] - own[:, 0]) - SLACK).sum()
    faults = (~relevant).sum() / timeline.hours
    if settings.cross is not None:
        rates = [
            (covers(other, settings.cross) & ~relevant).sum() / seconds * 3600
            for other, spans_of in enumerate(timeline.events)
            if other != column and (seconds := (spans_of[:, 1] - spans_of[:, 0]).sum()) > 0
        ]
        faults += settings.cross_cost * float(np.mean(rates)) if rates else 0.0
    return float(faults), float(hits / max(1, len(own)))


def _covered(places: Seconds, spans: Float[np.ndarray, "spans two"]) -> Seconds:
    """Sum what of each span lies before each place, in seconds.

    >>> _covered(np.array([0.5, 2.5]), np.array([[0.0, 1.0], [0.0, 2.0]])).tolist()
    [1.0, 3.0]
    """
    if not len(spans):
        return np.zeros(len(places))
    times = np.sort(spans.ravel())
    begun, ended = (np.searchsorted(np.sort(side), times, side="right") for side in spans.T)
    sums = np.append(0.0, np.cumsum((begun - ended)[:-1] * np.diff(times)))
    return np.interp(places, times, sums)


def _at(faults: np.ndarray, hits: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Read a curve of steps: the most hits for no more faults than at a place."""
    order = np.argsort(faults, kind="stable")
    best = np.maximum.accumulate(np.append(0.0, hits[order]))
    return best[np.searchsorted(faults[order], places, side="right")]
