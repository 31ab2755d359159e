"""Frames of encoders for tables of frame probes: settings, which rows there are, their caches."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiossl import distributed
from audiossl.data.corpus import Corpus
from audiossl.data.layout import SAMPLE_RATE
from audiossl.methods.supervised import facts_of
from audiossl.probing.bootstrap import BootstrapConfig
from audiossl.probing.layer_cache import CachedLayers, size_of, write_layers
from recipes.probe.encoders import Row, folders_of, with_baselines
from recipes.stage import Stage


@dataclass(frozen=True, kw_only=True)
class FrameProbeConfig:
    """Settings that all stages of frame probes have."""

    cuts: Path
    """Output of a `prepare` stage."""
    encoders: dict[str, str]
    """Encoders by their name in tables: a folder of ours, or kind:path as `load_encoder` takes."""
    output: Path
    """Folder of frames, what is trained on them, scores and the report."""
    baselines: bool = True
    """Whether tables have rows of log-mel filter banks and of encoders that were never trained."""
    bootstrap: BootstrapConfig = BootstrapConfig()
    """Bootstrap of the intervals."""

    def extra_inputs(self) -> dict[str, Path]:
        """Name inputs that are part of other settings."""
        return folders_of(self.encoders)


def frame_rows(encoders: Mapping[str, str], baselines: bool) -> list[Row]:
    """List the encoders of a table, with log-mel filter banks and untrained encoders behind them.

    Args:
        encoders: Name in tables to what `load_encoder` takes.
        baselines: Whether there are rows of those that were never trained.
    """
    if not baselines:
        return [Row(name, source, "encoder") for name, source in encoders.items()]
    return [
        dataclasses.replace(row, source="log_mel:80")
        if row.role == "log-mel"
        else dataclasses.replace(row, role="encoder")
        if row.name in encoders
        else row
        for row in with_baselines(encoders, (0,))
    ]


def cached_layers(
    folder: Path, corpus: Corpus, cuts: Sequence[int], encoder: Any, stage: Stage, *, most: float
) -> CachedLayers | None:
    """Encode cuts, unless that is more than disks should hold.

    Args:
        folder: Place of the cache.
        corpus: Corpus of the cuts.
        cuts: Numbers of the cuts.
        encoder: What encodes them.
        stage: The run.
        most: Most GiB of frames, in float16.

    Returns:
        None where they would be more.
    """
    seconds = float(corpus.num_samples[list(cuts)].sum()) / SAMPLE_RATE
    size = size_of(facts_of(encoder), encoder.frame_rate, seconds)
    stage.log.info(
        "%s: %d cuts, %.2f GiB of frames: %s", folder.name, len(cuts), size,
        "cached" if size <= most else "streamed",
    )  # fmt: skip
    if size > most:
        return None
    if distributed.is_first():
        write_layers(folder, corpus, cuts, encoder, device=stage.device)
    distributed.barrier()
    return CachedLayers.open(folder)
