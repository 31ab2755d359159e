"""PSDS on arrays equals the definition, event by event."""

import numpy as np
import pytest

from audiossl.probing import psds as module
from audiossl.probing.detection import SLACK, events_of
from audiossl.probing.psds import PSDS1, PSDS2, Psds, Scored, psds
from audiossl.probing.segments import Segment

CLASSES = ["a", "b", "c"]


def shared(one, other):
    return max(0.0, min(one.end, other.end) - max(one.begin, other.begin))


def counted(recording, threshold, column, settings):
    """Hits, false alarms and cross-triggers of one recording, as Bilen et al. define them."""
    name = CLASSES[column]
    active = (recording.probabilities[:, [column]] >= threshold).astype(float)
    found = events_of(active, recording.period, [name], start=recording.start)
    of = {c: [event for event in recording.events if event.name == c] for c in CLASSES}

    def covers(one, other, share):
        seconds = sum(shared(one, event) for event in of[other])
        return seconds >= share * (one.end - one.begin) - SLACK

    relevant = [one for one in found if covers(one, name, settings.detection)]
    rest = [one for one in found if one not in relevant]
    hits = sum(
        sum(shared(event, one) for one in relevant)
        >= settings.truth * (event.end - event.begin) - SLACK
        for event in of[name]
    )
    crossed = [
        sum(covers(one, other, settings.cross) for one in rest) if settings.cross else 0
        for other in CLASSES
    ]
    return np.array([hits, len(rest), *crossed])


def curve(recordings, column, settings):
    scores = np.unique(np.concatenate([r.probabilities[:, column] for r in recordings]))
    hours = sum(len(r.probabilities) * r.period for r in recordings) / 3600
    seconds = [
        sum(e.end - e.begin for r in recordings for e in r.events if e.name == name)
        for name in CLASSES
    ]
    total = sum(e.name == CLASSES[column] for r in recordings for e in r.events)
    points = []
    for score in scores:
        hits, faults, *crossed = sum(counted(r, score, column, settings) for r in recordings)
        others = [n / s * 3600 for i, (n, s) in enumerate(zip(crossed, seconds, strict=True))
                  if i != column and s > 0]  # fmt: skip
        points.append((faults / hours + settings.cross_cost * np.mean(others), hits / total))
    return np.array(points)


def drawn(seed, period=0.25, start=0.0):
    """Recordings of several lengths whose events overlap, and reach beyond the frames."""
    generator = np.random.default_rng(seed)
    recordings = []
    for count in (40, 7, 23):
        events = [Segment(0.2, 1.7, name) for name in CLASSES]
        for _ in range(6):
            begin = generator.uniform(0, count * period)
            end = begin + generator.uniform(0.1, 3)
            events.append(Segment(begin, end, CLASSES[generator.integers(3)]))
        probabilities = generator.random((count, 3)).round(2)
        recordings.append(Scored(events, probabilities, period, start))
    return recordings


@pytest.mark.parametrize("settings", [PSDS1, PSDS2, Psds(detection=0.3, truth=0.5)])
@pytest.mark.parametrize("start", [0.0, -0.1, 0.3])
def test_every_point_of_a_curve_is_counted_event_by_event(settings, start):
    recordings = drawn(0, start=start)
    timeline = module._Timeline(recordings, CLASSES)
    for column in range(3):
        found = np.stack(module._curve(timeline, column, settings, 1000), axis=1)
        np.testing.assert_allclose(found, curve(recordings, column, settings), atol=1e-9)


def test_the_order_of_recordings_says_nothing():
    recordings = drawn(1)
    assert psds(recordings, CLASSES, PSDS2) == pytest.approx(psds(recordings[::-1], CLASSES, PSDS2))
