"""Crops of mixtures, with the same crop of each of their stems."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int

from audiossl.batches import StemBatch
from audiossl.data.corpus import Corpus
from audiossl.data.crops import Crops, CropsConfig
from audiossl.data.plan import Position
from audiossl.errors import UserError, did_you_mean


class StemCrops(Crops):
    """Crops whose batches are `StemBatch`es; zeros stand for a stem that a cut has not."""

    def __init__(
        self,
        corpus: Corpus,
        config: CropsConfig,
        chosen: Int[np.ndarray, " cuts"],
        seed: int,
        stems: Sequence[str] = (),
    ) -> None:
        """Find the cuts that have stems among those that are chosen.

        Args:
            corpus: Mixtures, with their stems.
            config: Lengths of crops and shares of domains.
            chosen: The cuts that take part.
            seed: Of all draws.
            stems: Names of the stems that batches have; all by default.

        Raises:
            UserError: The corpus lacks a stem, or none of the cuts has any.
        """
        for name in stems:
            if name not in corpus.stems:
                raise UserError(
                    f"{corpus.folder} has no stem {name!r}{did_you_mean(name, corpus.stems)} (it "
                    f"has {', '.join(corpus.stems) or 'none'})"
                )
        self.stems = tuple(stems) or corpus.stems
        present = [corpus.fields[name].present[chosen] for name in self.stems]
        has_stems = np.any(present, axis=0) if present else np.zeros(len(chosen), bool)
        if not has_stems.any():
            raise UserError(
                f"{corpus.folder}: none of the {len(chosen)} cuts that take part has a stem: give "
                "stems of these cuts (recipes.source_association.separate), or choose others"
            )
        super().__init__(corpus, config, chosen[has_stems], seed)

    def load(self, position: Position, rank: int = 0, world_size: int = 1) -> StemBatch:  # type: ignore[override]
        """Read a rank's share of the batch at `position`."""
        batch = super().load(position, rank, world_size)
        _, drawn, starts, _ = self.plan.draw(position.batch)
        rows = np.array_split(np.arange(len(drawn)), world_size)[rank]
        stems = np.zeros((len(rows), len(self.stems), batch.waveforms.shape[1]), np.float32)
        cuts = [self.excerpts[item].cut for item in drawn[rows].tolist()]
        for row, cut in enumerate(cuts):
            length, start = int(batch.lengths[row]), int(starts[rows[row]])
            for column, name in enumerate(self.stems):
                stems[row, column, :length] = self.corpus.waveform(cut, name, start, length)
        recordings = torch.from_numpy(self.corpus.recordings[cuts])
        return StemBatch(batch.waveforms, batch.lengths, torch.from_numpy(stems), recordings)
