import json
from pathlib import Path

import pytest

from audiossl.probing.diarization import diarization_errors
from audiossl.probing.segments import Segment

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/events_and_turns.json").read_text())
"""What pyannote.metrics 4.2.0 makes of five drawn recordings, without a collar and with one."""


@pytest.mark.parametrize("number", range(10))
def test_drawn_turns_are_scored_as_a_peer_scores_them(number):
    # Its collar is the whole width of what is left out.
    collar, *expected = GOLDEN["expected"]["der"][number]
    true, found = ([Segment(*t) for t in turns] for turns in GOLDEN["turns"][number % 5])
    errors = diarization_errors(true, found, collar / 2)
    assert list(vars(errors).values()) == pytest.approx(expected, abs=1e-6)


def test_silence_and_nothing_found():
    turns = [Segment(0.0, 1.0, "ann"), Segment(0.5, 1.5, "bob")]
    assert diarization_errors([], []).speech == 0.0
    assert diarization_errors(turns, []).missed == diarization_errors(turns, []).speech == 2.0
    assert diarization_errors([], turns).false_alarm == 2.0
