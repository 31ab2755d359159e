import json
from pathlib import Path

import numpy as np
import pytest

from audiossl.probing.detection import event_counts, events_of, segment_errors
from audiossl.probing.psds import PSDS1, PSDS2, Scored, psds
from audiossl.probing.segments import Segment

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/events_and_turns.json").read_text())
"""What sed_eval 0.2.1 and sed_scores_eval 0.0.4 make of six drawn recordings of three classes."""
RECORDINGS = [
    Scored([Segment(*event) for event in one["events"]], np.array(one["probabilities"]), 0.25)
    for one in GOLDEN["recordings"]
]
CLASSES = GOLDEN["classes"]
TRUE = [Segment(1.0, 2.0, "a"), Segment(3.0, 3.5, "b"), Segment(5.0, 6.0, "a")]
FOUND = [
    Segment(1.1, 1.9, "a"), Segment(3.3, 3.6, "b"), Segment(5.15, 6.0, "a"), Segment(8.0, 8.5, "b"),
]  # fmt: skip


def _f1(pairs):
    above, below = np.sum(pairs, axis=0)
    return above / below


def test_published_figures_of_sed_eval():
    assert event_counts(TRUE, FOUND, offset_share=None).f1 == (4.0, 7.0)
    assert event_counts(TRUE, FOUND, collar=0.05, offset_share=None).f1[0] == 0.0
    assert _f1([event_counts(TRUE, FOUND).f1]) == pytest.approx(0.571429, abs=1e-6)
    pieces = segment_errors(TRUE, FOUND)
    assert _f1([pieces.counts.f1]) == pytest.approx(0.857143, abs=1e-6)
    assert pieces.errors / pieces.active == pytest.approx(1 / 3)


def test_drawn_recordings_are_scored_as_peers_score_them():
    found = [events_of(r.probabilities, r.period, CLASSES, threshold=0.4) for r in RECORDINGS]
    pairs = [event_counts(r.events, f).f1 for r, f in zip(RECORDINGS, found, strict=True)]
    assert _f1(pairs) == pytest.approx(GOLDEN["expected"]["event_f1"])
    pieces = [segment_errors(r.events, f) for r, f in zip(RECORDINGS, found, strict=True)]
    assert _f1([p.counts.f1 for p in pieces]) == pytest.approx(GOLDEN["expected"]["segment_f1"])
    errors = sum(p.errors for p in pieces) / sum(p.active for p in pieces)
    assert errors == pytest.approx(GOLDEN["expected"]["segment_er"])


@pytest.mark.parametrize(("settings", "name"), [(PSDS1, "psds1"), (PSDS2, "psds2")])
def test_the_psds_of_drawn_recordings_is_that_of_its_peer(settings, name):
    assert psds(RECORDINGS, CLASSES, settings) == pytest.approx(GOLDEN["expected"][name], abs=1e-9)


def test_the_most_events_are_matched_and_not_the_first():
    true = [Segment(1.0, 2.0, "a"), Segment(1.3, 2.3, "a")]
    found = [Segment(1.15, 2.15, "a"), Segment(0.9, 1.9, "a")]
    assert event_counts(true, found).hits == 2


def test_frames_become_events_behind_a_median_filter():
    probabilities = np.array([0.9, 0.1, 0.9, 0.9, 0.9, 0.1, 0.1, 0.9, 0.1])[:, None]
    plain = events_of(probabilities, 0.1, ["a"], start=-0.02)
    assert [(round(e.begin, 3), round(e.end, 3)) for e in plain] == [
        (0.0, 0.08), (0.18, 0.48), (0.68, 0.78),
    ]  # fmt: skip
    smooth = events_of(probabilities, 0.1, ["a"], median=0.3)
    assert [(round(e.begin, 3), round(e.end, 3)) for e in smooth] == [(0.0, 0.5)]
