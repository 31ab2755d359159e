"""Waveforms: batches of cuts, of long ones as random crops, for methods that need nothing else."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int

from audiossl.batches import DataFacts, WaveformBatch
from audiossl.configs import Positive
from audiossl.data.corpus import Corpus
from audiossl.data.layout import RECORDING, SAMPLE_RATE
from audiossl.data.plan import Plan, PlanConfig, Position


@dataclass(frozen=True, kw_only=True)
class WaveformsConfig:
    """Length of what is read of a cut."""

    max_duration: Positive = 10.0
    """Maximum duration in seconds; of longer cuts a crop of that length is drawn at random, anew in
    each epoch."""


class Waveforms:
    """A `BatchSource` of `WaveformBatch`es; each is a function of (seed, epoch, number)."""

    def __init__(
        self,
        corpus: Corpus,
        config: WaveformsConfig,
        plan: PlanConfig,
        chosen: Int[np.ndarray, " cuts"],
    ) -> None:
        self.corpus, self.chosen, self.seed = corpus, chosen, plan.seed
        most = round(config.max_duration * SAMPLE_RATE)
        self.lengths = np.minimum(corpus.num_samples[chosen], most).astype(np.int64)
        self.plan = Plan(self.lengths, SAMPLE_RATE, plan)

    @property
    def facts(self) -> DataFacts:
        """Audio of a step."""
        return DataFacts(seconds_per_step=self.plan.seconds_per_batch)

    def load(self, position: Position, rank: int = 0, world_size: int = 1) -> WaveformBatch:
        """Read a rank's share of the batch at `position`."""
        batches = self.plan.epoch(position.epoch)
        everyone = batches.cuts(position.batch)
        width = int(self.plan.padded[batches.buckets[position.batch]])
        key = [self.seed, (position.epoch << 32) + position.batch]
        draws = np.random.Generator(np.random.Philox(key=key)).random(len(everyone))
        rows = np.array_split(np.arange(len(everyone)), world_size)[rank]
        waveforms = np.zeros((len(rows), width), np.float32)
        for waveform, row in zip(waveforms, rows, strict=True):
            item = int(everyone[row])
            cut, length = int(self.chosen[item]), int(self.lengths[item])
            room = int(self.corpus.num_samples[cut]) - length
            start = int(draws[row] * (room + 1))
            waveform[:length] = self.corpus.waveform(cut, RECORDING, start, length)
        lengths = torch.from_numpy(self.lengths[everyone[rows]])
        return WaveformBatch(torch.from_numpy(waveforms), lengths)
