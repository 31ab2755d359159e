"""Stage: take the recordings of a corpus apart, shard by shard; stems become fields beside it.

Stems keep the level they have in the mixture, are stored as 16-bit, and are the same bytes when the
stage is run again. A stem that is silent throughout takes no room.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from audiossl import distributed
from audiossl.audio.files import read_audio
from audiossl.configs import Count, Share
from audiossl.data.corpus import Corpus
from audiossl.data.folder import stem_files
from audiossl.data.layout import MIXTURE
from audiossl.data.reading import SAMPLE_RATE
from audiossl.data.stems import Stems, finish_stems, write_stems
from audiossl.errors import Skip, UserError
from audiossl.preemption import safe_point
from audiossl.separation.build import SeparatorConfig, build_separator
from audiossl.separation.given import GivenStems
from audiossl.separation.recordings import separate_recordings
from audiossl.separation.separator import Separator
from recipes.record import digest
from recipes.shards import Outcome, Task, run_shards
from recipes.stage import Resources, Stage, main

BYTES_PER_HOUR = {"wav": 2 * 3600 * SAMPLE_RATE, "flac": int(1.2 * 3600 * SAMPLE_RATE)}
"""Of one stem; flac's is what music takes, roughly."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Take the recordings of a corpus apart into stems."""

    cuts: Path
    """Output of a `prepare` stage."""
    output: Path
    """Folder of the stems."""
    separator: SeparatorConfig
    """Source separator: kind demucs, spleeter, decomposition, or given."""
    originals: Path | None = None
    """Folder that the cuts were prepared from. `given` finds stems there; the other separators read
    the original rate and channels instead of the stored 16 kHz mono."""
    where: dict[str, list[str]] = field(default_factory=dict)
    """Labels and their values of the cuts that are separated; all cuts if empty."""
    encoding: Literal["wav", "flac"] = "wav"
    """Encoding of the stems. wav: crops are read without decoding; flac: about half the room."""
    batch_size: Count = 1
    """Number of windows that are separated at once: 1 on a CPU, as many as fit on an
    accelerator."""
    max_skipped: Share = 0.01
    """Largest share of recordings that may be left out before the stage fails."""
    resources: Resources = Resources()
    """Device and worker processes."""


def separate(config: Config, stage: Stage) -> dict[str, Any]:
    """Write the stems of every shard."""
    corpus = Corpus(config.cuts)
    separator = build_separator(config.separator)
    hours_of = corpus.shard_hours(corpus.select(config.where))
    hours = sum(hours_of)
    cost = len(separator.names) * BYTES_PER_HOUR[config.encoding] / 2**20
    stage.log.info(
        "%s: %s; %.2f h of mixtures, at most %.0f MiB of stems an hour, %.0f MiB in all",
        config.separator.kind, ", ".join(separator.names), hours, cost, cost * hours,
    )  # fmt: skip
    identity = digest([separator.identity, config.encoding, config.where, config.batch_size])
    tasks = [Task(shard, identity, shard, own) for shard, own in enumerate(hours_of)]
    totals = run_shards(stage, tasks, partial(_worker, config, str(stage.device)), config.resources)
    if distributed.is_first():
        finish_stems(corpus, stage.output, separator.names, config.encoding)
    return {**totals, "separator": separator.identity}


def _worker(config: Config, device: str) -> Callable[[Task], Outcome]:
    """Load the separator once, in the process that uses it."""
    corpus, separator = Corpus(config.cuts), build_separator(config.separator, device)
    wanted = set(corpus.select(config.where).tolist())

    def work(task: Task) -> Outcome:
        mixtures = _Mixtures(corpus, task.index, config, wanted)
        if isinstance(separator, GivenStems):
            stems = mixtures.given(separator)
        else:
            stems = mixtures.estimated(separator)
        files = write_stems(
            corpus, task.index, stems, separator.names,
            folder=config.output, encoding=config.encoding,
        )  # fmt: skip
        count, seconds = len(mixtures.rows), mixtures.seconds
        return Outcome(files, count, seconds / 3600, tuple(mixtures.skipped))

    return work


class _Mixtures:
    """The cuts of a shard: which of them have stems, and where those come from."""

    def __init__(self, corpus: Corpus, shard: int, config: Config, wanted: set[int]) -> None:
        self.corpus, self.config = corpus, config
        self.cuts = corpus.shard_cuts(shard).tolist()
        self.rows = [cut for cut in self.cuts if cut in wanted]
        self.labels = dict(zip(self.cuts, corpus.shard_labels(shard), strict=True))
        self.seconds = float(corpus.num_samples[self.rows].sum()) / SAMPLE_RATE
        self.skipped: list[dict[str, str]] = []

    def given(self, reader: GivenStems) -> Iterator[Stems | None]:
        """Yield the stems that lie beside the originals."""
        for cut in self.cuts:
            stems = None
            safe_point()
            if cut in self.rows:
                try:
                    files = reader.find(self._original(cut))
                    stems = reader.read(files, self.corpus.waveform(cut)).stems
                except Skip as error:
                    self._skip(cut, error)
            yield stems

    def estimated(self, separator: Separator) -> Iterator[Stems | None]:
        """Yield what a separator makes of the mixtures, many windows at once."""
        rate = separator.sample_rate if self.config.originals else SAMPLE_RATE
        read_cuts: deque[int] = deque()
        separated = separate_recordings(
            separator,
            self._mixtures(rate, read_cuts),
            sample_rate=rate,
            batch_size=self.config.batch_size,
        )
        stems = next(separated, None)
        for cut in self.cuts:
            # Mixtures that could not be read have no stems: those at hand are of a later cut.
            if read_cuts and read_cuts[0] == cut:
                yield stems
                read_cuts.popleft()
                stems = next(separated, None)
            else:
                yield None

    def _mixtures(self, rate: int, read_cuts: deque[int]) -> Iterator[np.ndarray]:
        """Read the mixtures one by one, and note which could be read."""
        for cut in self.rows:
            try:
                mixture = self._mixture(cut, rate)
            except Skip as error:
                self._skip(cut, error)
                continue
            read_cuts.append(cut)
            yield mixture

    def _mixture(self, cut: int, rate: int) -> np.ndarray:
        if not self.config.originals:
            return self.corpus.waveform(cut)
        path = self._original(cut)
        if path.is_dir():
            path = stem_files(path)[MIXTURE]
        return read_audio(path, sample_rate=rate).samples

    def _original(self, cut: int) -> Path:
        path = self.labels[cut].get("path")
        if not self.config.originals or path is None:
            raise UserError(
                f"cut {self.labels[cut]['id']}: its original is not known: give the folder that it "
                "was prepared from, by recipes.prepare.folder, as originals"
            )
        return self.config.originals / path

    def _skip(self, cut: int, error: Skip) -> None:
        self.skipped.append({"id": self.labels[cut]["id"], "reason": str(error)})


if __name__ == "__main__":
    main(Config, separate, "recipes.source_association.separate")
