"""What is mixed into cuts of a batch: pieces of noise, and impulse responses of rooms."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from audiossl.data.corpus import Corpus
from audiossl.data.plan import Position
from audiossl.errors import UserError


class Noise:
    """Pieces of recordings; which ones is a function of (seed, epoch, batch, row of the batch)."""

    stream = 1
    """Tells its random numbers from others of the same batch."""

    def __init__(self, folders: tuple[Path, ...], seed: int) -> None:
        """Open the corpora; every recording is as likely as any other."""
        self.corpora, self.seed = [Corpus(folder) for folder in folders], seed
        self.ends = np.cumsum([len(corpus) for corpus in self.corpora])

    def load(
        self, position: Position, rows: Int[np.ndarray, " rows"], width: int
    ) -> Float[Tensor, "rows width"]:
        """Read `width` samples for each of `rows` of a batch."""
        return torch.from_numpy(np.stack([self._piece(position, int(row), width) for row in rows]))

    def _piece(self, position: Position, row: int, width: int) -> Float[np.ndarray, " width"]:
        key = [self.seed, self.stream, position.epoch, position.batch, row]
        generator = np.random.default_rng(np.random.SeedSequence(key))
        number = int(generator.integers(self.ends[-1]))
        which = int(np.searchsorted(self.ends, number, side="right"))
        corpus, cut = self.corpora[which], number - int(self.ends[which - 1] if which else 0)
        return self._read(corpus, cut, width, generator)

    def _read(
        self, corpus: Corpus, cut: int, width: int, generator: np.random.Generator
    ) -> Float[np.ndarray, " width"]:
        """Read a piece; a recording that is shorter is repeated, from a random place on."""
        length = int(corpus.num_samples[cut])
        if length >= width:
            start = int(generator.integers(length - width + 1))
            return corpus.waveform(cut, start=start, num_samples=width)
        start = int(generator.integers(length))
        return np.resize(np.roll(corpus.waveform(cut), -start), width)


class Responses(Noise):
    """Impulse responses of unit energy that begin with the direct sound, their loudest sample."""

    stream = 2

    def _read(
        self,
        corpus: Corpus,
        cut: int,
        width: int,
        generator: np.random.Generator,  # noqa: ARG002 - there is no place to draw
    ) -> Float[np.ndarray, " width"]:
        response = corpus.waveform(cut)
        response = response[int(np.abs(response).argmax()) :][:width]
        energy = float(np.square(response, dtype=np.float64).sum())
        if not energy:
            raise UserError(
                f"{corpus.folder}: impulse response {corpus.name(cut)} is silent: leave it out"
            )
        return np.pad(response / np.float32(energy**0.5), (0, width - len(response)))
