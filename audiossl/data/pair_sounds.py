"""The waveform that a pair's reference to a cut, or to one of its stems, stands for."""

from collections.abc import Mapping
from pathlib import Path

from jaxtyping import Float
from numpy import ndarray

from audiossl.data.corpus import Corpus
from audiossl.data.layout import SAMPLE_RATE
from audiossl.data.pairs import Reference
from audiossl.errors import Skip

_TOLERANCE = 160
"""Samples, 10 ms, that a piece may reach beyond its cut: manifests round."""


class PairSounds:
    """Reads pieces of the cuts that pairs were made from, by the ids of the cuts."""

    def __init__(self, *folders: Path) -> None:
        """Open the folders of one corpus."""
        self.corpus = Corpus(*folders)
        self._numbers: Mapping[str, int] = {
            self.corpus.name(index): index for index in range(len(self.corpus))
        }

    def waveform(self, reference: Reference) -> Float[ndarray, " samples"]:
        """Read the waveform of a reference, at 16 kHz.

        Raises:
            Skip: There is no such cut or stem, or it ends before the piece does.
        """
        corpus, index = self.corpus, self._numbers.get(reference.place)
        if index is None:
            raise Skip(
                f"no cut {reference.place!r} in {corpus.folder}: was it left out by prepare?"
            )
        field = corpus.fields.get(reference.field)
        if field is None or not field.present[index]:
            raise Skip(f"cut {reference.place!r} has no {reference.field}")
        first, last = _span(reference, int(corpus.num_samples[index]))
        return corpus.waveform(index, reference.field, first, last - first)


def _span(reference: Reference, num_samples: int) -> tuple[int, int]:
    """Find the samples of a reference; what is written in seconds may be rounded."""
    first, last = round(reference.start * SAMPLE_RATE), num_samples
    if reference.duration is not None:
        last = first + round(reference.duration * SAMPLE_RATE)
    if not 0 <= first < min(last, num_samples) or last > num_samples + _TOLERANCE:
        raise Skip(
            f"cut {reference.place!r}: lasts {num_samples / SAMPLE_RATE:g} s, asked for "
            f"{first / SAMPLE_RATE:g} to {last / SAMPLE_RATE:g} s"
        )
    return first, min(last, num_samples)
