"""Noise to mix in: a random piece of a random recording for every cut of a batch."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from audiossl.data.corpus import Corpus
from audiossl.data.plan import Position

STREAM = 1
"""Tells the random numbers of noise from others of the same batch."""


class Noise:
    """Pieces of recordings; which ones is a function of (seed, epoch, batch, row of the batch)."""

    def __init__(self, folders: tuple[Path, ...], seed: int) -> None:
        """Open the corpora; every recording is as likely as any other."""
        self.corpora, self.seed = [Corpus(folder) for folder in folders], seed
        self.ends = np.cumsum([len(corpus) for corpus in self.corpora])

    def load(
        self, position: Position, rows: Int[np.ndarray, " rows"], width: int
    ) -> Float[Tensor, "rows width"]:
        """Read `width` samples for each of `rows` of a batch.

        A recording that is shorter is repeated, from a random place on.
        """
        return torch.from_numpy(np.stack([self._piece(position, int(row), width) for row in rows]))

    def _piece(self, position: Position, row: int, width: int) -> Float[np.ndarray, " width"]:
        key = [self.seed, STREAM, position.epoch, position.batch, row]
        generator = np.random.default_rng(np.random.SeedSequence(key))
        number = int(generator.integers(self.ends[-1]))
        which = int(np.searchsorted(self.ends, number, side="right"))
        corpus, cut = self.corpora[which], number - int(self.ends[which - 1] if which else 0)
        length = int(corpus.num_samples[cut])
        if length >= width:
            start = int(generator.integers(length - width + 1))
            return corpus.waveform(cut, start=start, num_samples=width)
        start = int(generator.integers(length))
        return np.resize(np.roll(corpus.waveform(cut), -start), width)
