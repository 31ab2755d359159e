"""Sound events: from the probabilities of frames to events, and how well these meet the reference.

Source: sed_eval 0.2.1 (Mesaros, Heittola and Virtanen 2016), whose counts these are, and the
decoding of HEAR 2021 (hear-eval-kit 2021.1.3). Everything is a sum of counts over clips, so that
clips can be resampled.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import median_filter
from scipy.optimize import linear_sum_assignment

from audiossl.probing.segments import Segment

Events = Sequence[Segment]


@dataclass(frozen=True, kw_only=True)
class Collar:
    """How far an estimated event may be off."""

    onset: float
    """Seconds."""
    offset: float | None = None
    """Share of the reference's length by which its end may be off, if that is more than `onset`
    seconds; None: ends do not matter."""


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How frames become events."""

    median_ms: float = 250.0
    """Length of the median filter."""
    shortest_ms: float = 125.0
    """Duration under which an event is dropped."""


@dataclass(frozen=True)
class Counts:
    """Counts of a clip, or of several, added up."""

    hits: int
    substitutions: int
    reference: int
    estimated: int

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.hits + other.hits,
            self.substitutions + other.substitutions,
            self.reference + other.reference,
            self.estimated + other.estimated,
        )

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; NaN if there is no event at all."""
        events = self.reference + self.estimated
        return 2 * self.hits / events if events else math.nan

    @property
    def error_rate(self) -> float:
        """Substitutions, deletions and insertions for each event of the reference."""
        if not self.reference:
            return math.nan
        missed = self.reference - self.hits - self.substitutions
        added = self.estimated - self.hits - self.substitutions
        return (self.substitutions + missed + added) / self.reference


def event_counts(reference: Events, estimated: Events, collar: Collar) -> Counts:
    """Match events one to one, as many as can be.

    Args:
        reference: Events of a clip.
        estimated: Those that were found.
        collar: How far they may be off. An event at the right time under another name is a
            substitution.

    Example:
        >>> right, found = [Segment(1.0, 2.0, "a")], [Segment(1.1, 3.0, "a")]
        >>> counts = event_counts(right, found, Collar(onset=0.2))
        >>> counts.f1, counts.error_rate
        (1.0, 0.0)
    """
    near = np.array([[_meets(r, e, collar) for e in estimated] for r in reference], bool)
    near = near.reshape(len(reference), len(estimated))
    same = np.array([[r.name == e.name for e in estimated] for r in reference], bool)
    rows, columns = linear_sum_assignment(near & same.reshape(near.shape), maximize=True)
    hit = (near & same.reshape(near.shape))[rows, columns]
    left = near.copy()
    left[rows[hit]], left[:, columns[hit]] = False, False
    others = int(left[linear_sum_assignment(left, maximize=True)].sum())
    return Counts(int(hit.sum()), others, len(reference), len(estimated))


def segment_counts(reference: Events, estimated: Events, resolution: float = 1.0) -> Counts:
    """Count the classes that sound in each segment of a clip.

    Args:
        reference: Events of a clip.
        estimated: Those that were found.
        resolution: Length of a segment, in seconds.
    """
    names = sorted({event.name for event in (*reference, *estimated)})
    end = max((event.end for event in (*reference, *estimated)), default=0.0)
    length = math.ceil(round(end / resolution, 6))
    right, said = (_active(events, names, length, resolution) for events in (reference, estimated))
    hits = right & said
    missed, added = (right & ~said).sum(axis=1), (said & ~right).sum(axis=1)
    swapped = int(np.minimum(missed, added).sum())
    return Counts(int(hits.sum()), swapped, int(right.sum()), int(said.sum()))


def decode_events(
    times: Float[np.ndarray, " frames"],
    probabilities: Float[np.ndarray, "frames classes"],
    names: Sequence[str],
    decoding: Decoding,
) -> list[Segment]:
    """Find events: where the median of a class's probability is above one half.

    An event lasts from its first frame's time to its last one's.

    Args:
        times: Of the frames, in seconds, evenly spaced.
        probabilities: Of each class in each frame.
        names: Of the classes.
        decoding: Filter, and shortest event.

    Example:
        >>> said = np.array([[0.0], [1.0], [1.0], [1.0], [0.0]])
        >>> decoding = Decoding(median_ms=100.0, shortest_ms=100.0)
        >>> decode_events(np.arange(5) / 10, said, ["dog"], decoding)
        [Segment(begin=0.1, end=0.3, name='dog')]
    """
    hop = float(np.diff(times).mean()) if len(times) > 1 else 1.0
    width = max(1, round(decoding.median_ms / 1000 / hop)) if decoding.median_ms else 1
    active = median_filter(probabilities, size=(width, 1)) > 0.5
    edges = np.diff(np.pad(active.astype(np.int8), ((1, 1), (0, 0))), axis=0)
    events = []
    for column, name in enumerate(names):
        begins, ends = (np.flatnonzero(edges[:, column] == sign) for sign in (1, -1))
        for first, behind in zip(begins, ends, strict=True):
            begin, end = float(times[first]), float(times[behind - 1])
            if end - begin >= decoding.shortest_ms / 1000 - 1e-9:
                events.append(Segment(begin, end, name))
    return events


def frame_targets(
    times: Float[np.ndarray, " frames"], events: Events, names: Sequence[str]
) -> Bool[np.ndarray, "frames classes"]:
    """Say which classes sound at the time of each frame, an event's end included."""
    targets = np.zeros((len(times), len(names)), bool)
    for event in events:
        if event.name in names:
            inside = (times >= event.begin) & (times < event.end + 1e-7)
            targets[inside, names.index(event.name)] = True
    return targets


def _meets(reference: Segment, estimated: Segment, collar: Collar) -> bool:
    if abs(reference.begin - estimated.begin) > collar.onset:
        return False
    if collar.offset is None:
        return True
    allowed = max(collar.onset, collar.offset * (reference.end - reference.begin))
    return abs(reference.end - estimated.end) <= allowed


def _active(
    events: Events, names: Sequence[str], length: int, resolution: float
) -> Bool[np.ndarray, "segments classes"]:
    active = np.zeros((length, len(names)), bool)
    for event in events:
        first = math.floor(round(event.begin / resolution, 6))
        behind = math.ceil(round(event.end / resolution, 6))
        active[first:behind, names.index(event.name)] = True
    return active
