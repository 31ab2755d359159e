"""What pretraining has in common with test items: recordings, speakers, and the very audio."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from audiossl.data.corpus import Corpus
from audiossl.data.layout import RECORDING
from audiossl.digests import digest_of_bytes

LABELS = ("recording", "speaker")
"""Labels whose values are compared."""


@dataclass(frozen=True)
class Overlap:
    """Test cuts that pretraining has something in common with."""

    test_cuts: int
    """Number of test cuts in all."""
    shared: Mapping[str, int]
    """Test cuts whose recording, speaker or audio is among the pretraining cuts."""

    def __bool__(self) -> bool:
        return any(self.shared.values())


def overlap(
    pretraining: Corpus,
    used: Int[np.ndarray, " cuts"],
    test: Corpus,
    tested: Int[np.ndarray, " test_cuts"],
) -> Overlap:
    """Count the test cuts that share a recording, a speaker or their audio with pretraining.

    Audio is compared by its level every five milliseconds, which only copies of one waveform share
    to the last digit; silence is no copy of anything.

    Args:
        pretraining: Corpus that an encoder was pretrained on.
        used: Its cuts that took part.
        test: Corpus of the probes; may be the same.
        tested: Its cuts that are test items.
    """
    known, scored = _labels(pretraining, used), _labels(test, tested)
    shared = {
        name: _count([row.get(name) for row in scored], [row.get(name) for row in known])
        for name in LABELS
    }
    shared["audio"] = _count(_fingerprints(test, tested), _fingerprints(pretraining, used))
    return Overlap(len(tested), shared)


def _labels(corpus: Corpus, cuts: Int[np.ndarray, " cuts"]) -> list[Mapping[str, str]]:
    wanted = set(cuts.tolist())
    return [labels for index, labels in enumerate(corpus.labels()) if index in wanted]


def _fingerprints(corpus: Corpus, cuts: Int[np.ndarray, " cuts"]) -> list[str | None]:
    field = corpus.fields[RECORDING]
    tracks = (field.levels(cut) for cut in cuts.tolist())
    return [digest_of_bytes([track.tobytes()]) if track.any() else None for track in tracks]


def _count(values: Sequence[object], others: Iterable[object]) -> int:
    known = set(others) - {None, ""}
    return sum(value in known for value in values)
