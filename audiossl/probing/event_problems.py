"""Events as a problem for any probe of rows: it tells the classes of frames, scored by clips.

What a probe says of the frames of a clip is decoded to events, with the median filter and the
shortest duration that validate best, as HEAR does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from jaxtyping import Float

from audiossl.probing.events import (
    Collar,
    Counts,
    Decoding,
    Events,
    decode_events,
    event_counts,
    frame_targets,
    segment_counts,
)
from audiossl.probing.frame_tracks import Track
from audiossl.probing.metrics import EVENT_SCORES, metric_of, plain
from audiossl.probing.probe import Examples, Problem
from audiossl.probing.tasks import Split, Task

COLLARS = {
    "event_onset_200ms": Collar(onset=0.2),
    "event_onset_50ms": Collar(onset=0.05),
    "event_onset_offset_50ms": Collar(onset=0.05, offset=0.2),
}
"""Collar of each score of events; the other one counts seconds."""


COLUMNS = tuple(
    f"{name}: {count}"
    for name in EVENT_SCORES
    for count in ("hits", "substitutions", "reference", "found")
)
"""Names of the counts of a clip, which stand for its classes in predictions."""


@dataclass(frozen=True)
class Clips:
    """The frames of some clips, one clip after the other, and their events."""

    examples: Examples
    times: Float[np.ndarray, " frames"]
    counts: tuple[int, ...]
    """Frames of each clip."""
    events: tuple[Events, ...]

    def found(
        self,
        probabilities: Float[np.ndarray, "frames classes"],
        classes: Sequence[str],
        decoding: Decoding,
    ) -> Float[np.ndarray, "clips 16"]:
        """Count what is found in each clip, for every score of events."""
        ends = np.cumsum(self.counts)
        rows = []
        for end, count, reference in zip(ends, self.counts, self.events, strict=True):
            part = slice(end - count, end)
            events = decode_events(self.times[part], probabilities[part], classes, decoding)
            rows.append([n for name in EVENT_SCORES for n in _counts(name, reference, events)])
        return np.array(rows, np.float32)


@dataclass(frozen=True)
class EventProblem(Problem):
    """Frames to tell the classes of, chosen by the events of validation clips."""

    clips: Clips | None = None
    """Clips of validation."""
    decodings: tuple[Decoding, ...] = ()

    def validation(self, row_scores: Float[np.ndarray, "rows classes"]) -> float:
        """Score the events of the validation clips by the decoding that is best for them."""
        return max(score for _, score in self._tried(row_scores))

    def decoding(self, row_scores: Float[np.ndarray, "rows classes"]) -> Decoding:
        """Choose the decoding."""
        return max(self._tried(row_scores), key=lambda tried: tried[1])[0]

    def _tried(self, row_scores: np.ndarray) -> list[tuple[Decoding, float]]:
        assert self.clips is not None
        metric, tried = metric_of(self.metric), []
        for decoding in self.decodings:
            counts = self.clips.found(row_scores, self.classes, decoding)
            score = plain(metric, counts, counts)
            tried.append((decoding, -np.inf if np.isnan(score) else score))
        return tried


def event_problem(task: Task, track: Track) -> EventProblem:
    """Put the frames of training and validation clips together."""
    train, valid = (clips_of(task, track, split) for split in ("train", "valid"))
    pairs = product(task.config.medians_ms, task.config.shortest_ms)
    decodings = tuple(Decoding(median_ms=float(m), shortest_ms=float(s)) for m, s in pairs)
    return EventProblem(
        train.examples, valid.examples, "multi", task.config.metric, task.classes, valid, decodings
    )


def clips_of(task: Task, track: Track, split: Split) -> Clips:
    """Find the frames of the clips of a split, and say which classes sound in each.

    Example:
        >>> from audiossl.probing.tasks import TaskConfig, build_task
        >>> cuts = [
        ...     {"id": split, "recording": split, "events": "0-0.1 dog", "split": split}
        ...     for split in ("train", "valid", "test")
        ... ]
        >>> config = TaskConfig(name="a", label="events", kind="events", metric="event_onset_50ms")
        >>> track = Track(np.zeros((6, 4), np.float32), np.tile([0.0, 0.5], 3), np.arange(4) * 2)
        >>> clips_of(build_task(config, cuts), track, "test").examples.targets.tolist()
        [[True], [False]]
    """
    rows = task.rows(split)
    parts = track.rows(task.cuts[rows])
    events = tuple(task.events[row] for row in rows)
    vectors = np.concatenate([track.vectors[part] for part in parts])
    targets = [
        frame_targets(track.times[part], of_clip, task.classes)
        for part, of_clip in zip(parts, events, strict=True)
    ]
    examples = Examples(vectors, np.arange(len(vectors)), np.concatenate(targets))
    counts = tuple(part.stop - part.start for part in parts)
    return Clips(examples, np.concatenate([track.times[part] for part in parts]), counts, events)


def counted(task: Task) -> Task:
    """Describe the clips of a task by the counts of their events, as if nothing was found."""
    rows = [
        [number for name in EVENT_SCORES for number in _counts(name, events, [])]
        for events in task.events
    ]
    return replace(task, classes=COLUMNS, targets=np.array(rows, np.float32))


def _counts(name: str, reference: Events, found: Events) -> tuple[int, int, int, int]:
    collar = COLLARS.get(name)
    counts: Counts
    if collar is None:
        counts = segment_counts(reference, found)
    else:
        counts = event_counts(reference, found, collar)
    return counts.hits, counts.substitutions, counts.reference, counts.estimated
