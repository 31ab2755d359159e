"""Who spoke when: the diarization error rate.

Source: NIST's md-eval: speakers are mapped one to one so that they share most time; where several
speak, each counts. Time within `collar` of a true boundary may be left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from audiossl.probing.segments import Segment


@dataclass(frozen=True)
class DiarizationErrors:
    """Seconds of errors of a recording."""

    missed: float
    """Speech that was not found."""
    false_alarm: float
    """Speech that was found where there is none, or less."""
    confusion: float
    """Speech given to another speaker."""
    speech: float
    """True speech, that of each speaker counted."""

    @property
    def errors(self) -> float:
        """All errors; over `speech` of all recordings they are the DER."""
        return self.missed + self.false_alarm + self.confusion


def diarization_errors(
    reference: Sequence[Segment], found: Sequence[Segment], collar: float = 0.0
) -> DiarizationErrors:
    """Compare the turns of speakers in one recording.

    Args:
        reference: True turns; the name is the speaker.
        found: Turns that were found, by any names.
        collar: Seconds before and behind each true boundary that do not count.

    Example:
        >>> true = [Segment(0.0, 2.0, "ann"), Segment(2.0, 4.0, "bob")]
        >>> diarization_errors(true, [Segment(0.0, 3.0, "1"), Segment(3.0, 4.0, "2")])
        DiarizationErrors(missed=0.0, false_alarm=0.0, confusion=1.0, speech=4.0)
    """
    edges = np.array([time for turn in reference for time in (turn.begin, turn.end)])
    others = [time for turn in found for time in (turn.begin, turn.end)]
    cuts = np.unique(np.concatenate([edges - collar, edges + collar, others, edges]))
    if len(cuts) < 2:
        return DiarizationErrors(0.0, 0.0, 0.0, 0.0)
    middles, lengths = (cuts[1:] + cuts[:-1]) / 2, np.diff(cuts)
    if collar and len(edges):
        lengths = lengths * (np.abs(middles[:, None] - edges).min(axis=1) >= collar)
    true, other = _active(reference, middles), _active(found, middles)
    shared = (true * lengths) @ other.T
    rows, columns = linear_sum_assignment(-shared)
    right = float(shared[rows, columns].sum())
    speaking, detected = true.sum(axis=0), other.sum(axis=0)
    return DiarizationErrors(
        missed=float((np.maximum(speaking - detected, 0) * lengths).sum()),
        false_alarm=float((np.maximum(detected - speaking, 0) * lengths).sum()),
        confusion=max(0.0, float((np.minimum(speaking, detected) * lengths).sum()) - right),
        speech=float((speaking * lengths).sum()),
    )


def _active(turns: Sequence[Segment], times: np.ndarray) -> np.ndarray:
    """Mark when each speaker speaks: (speakers, times)."""
    names = sorted({turn.name for turn in turns})
    active = np.zeros((len(names), len(times)))
    for turn in turns:
        active[names.index(turn.name), (times >= turn.begin) & (times < turn.end)] = 1.0
    return active
