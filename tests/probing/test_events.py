import numpy as np
import pytest

from audiossl.probing.events import (
    Collar,
    Counts,
    Decoding,
    decode_events,
    event_counts,
    frame_targets,
    segment_counts,
)
from audiossl.probing.segments import Segment, parse_segments

REFERENCE = parse_segments("1-2 a|3-3.5 b|5-6 a", "golden")
ESTIMATED = parse_segments("1.1-1.9 a|3.3-3.6 b|5.15-6.0 a|8-8.5 b", "golden")


@pytest.mark.parametrize(
    ("collar", "f1"),
    [
        (Collar(onset=0.2), 0.571429),
        (Collar(onset=0.05), 0.0),
        (Collar(onset=0.2, offset=0.2), 0.571429),
    ],
)
def test_events_are_counted_as_sed_eval_does(collar, f1):
    assert event_counts(REFERENCE, ESTIMATED, collar).f1 == pytest.approx(f1, abs=1e-6)


def test_errors_are_counted_as_sed_eval_does():
    assert event_counts(REFERENCE, ESTIMATED, Collar(onset=0.2)).error_rate == 1.0
    counts = segment_counts(REFERENCE, ESTIMATED)
    assert counts.f1 == pytest.approx(0.857143, abs=1e-6)
    assert counts.error_rate == pytest.approx(0.333333, abs=1e-6)


def test_another_name_at_the_right_time_is_one_error_and_not_two():
    other = [Segment(1.0, 2.0, "b")]
    assert event_counts(REFERENCE[:1], other, Collar(onset=0.2)) == Counts(0, 1, 1, 1)
    assert segment_counts(REFERENCE[:1], other).error_rate == 1.0


def test_as_many_events_are_matched_as_can_be():
    # The first estimate is near both; taken for the first, it would leave the second without one.
    reference = [Segment(1.0, 2.0, "a"), Segment(1.3, 2.0, "a")]
    estimated = [Segment(1.15, 2.0, "a"), Segment(0.9, 2.0, "a")]
    assert event_counts(reference, estimated, Collar(onset=0.2)).hits == 2


def test_clips_add_up_and_empty_ones_say_nothing():
    empty = event_counts([], [], Collar(onset=0.2))
    assert np.isnan(empty.f1)
    assert np.isnan(empty.error_rate)
    whole = event_counts(REFERENCE, ESTIMATED, Collar(onset=0.2))
    assert (whole + empty + event_counts(REFERENCE, [], Collar(onset=0.2))).reference == 6


def test_frames_of_events_are_decoded_to_them_again():
    times = np.arange(0, 9, 0.05)
    targets = frame_targets(times, REFERENCE, ["a", "b"])
    found = decode_events(times, targets.astype(float), ["a", "b"], Decoding())
    assert event_counts(REFERENCE, found, Collar(onset=0.05, offset=0.2)).f1 == 1.0


def test_what_is_short_is_filtered_and_dropped():
    times = np.arange(40) * 0.05
    said = np.zeros((40, 1))
    said[5] = said[10:14] = said[20:30] = 1.0
    begins = [e.begin for e in decode_events(times, said, ["a"], Decoding())]
    assert begins == pytest.approx([0.5, 1.0])
    longer = decode_events(times, said, ["a"], Decoding(shortest_ms=250.0))
    assert [e.begin for e in longer] == pytest.approx([1.0])
