"""The waveform that a pair's reference to a cut, or to one of its stems, stands for."""

from collections.abc import Mapping
from pathlib import Path

from jaxtyping import Float
from numpy import ndarray

from audiossl.data.corpus import Corpus
from audiossl.data.layout import SAMPLE_RATE
from audiossl.data.pairs import Reference
from audiossl.errors import Skip


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
            Skip: There is no such cut, or it has no such stem.
        """
        corpus, index = self.corpus, self._numbers.get(reference.place)
        if index is None:
            raise Skip(
                f"no cut {reference.place!r} in {corpus.folder}: was it left out by prepare?"
            )
        field = corpus.fields.get(reference.field)
        if field is None or not field.present[index]:
            raise Skip(f"cut {reference.place!r} has no {reference.field}")
        start = round(reference.start * SAMPLE_RATE)
        left = int(corpus.num_samples[index]) - start
        wanted = left if reference.duration is None else round(reference.duration * SAMPLE_RATE)
        return corpus.waveform(index, reference.field, start, min(wanted, left))
