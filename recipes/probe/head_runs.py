"""Heads in training: one of every learning rate and seed, each in a folder of its own."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from audiossl import distributed
from audiossl.atomic_files import read_json, write_json
from audiossl.configs import Count, Nonnegative, Positive, Whole
from audiossl.nn.weights import load_exactly, read_weights, write_weights
from audiossl.probing.bootstrap import BootstrapConfig, percentiles
from audiossl.training.loop import LoopConfig, Place, train
from recipes.pretraining import TrainingResources
from recipes.probe.frames import FrameProbeConfig
from recipes.stage import Stage

HEAD = "head.safetensors"


@dataclass(frozen=True, kw_only=True)
class HeadsConfig(FrameProbeConfig):
    """Settings of stages that train heads on frames."""

    rates: tuple[Positive, ...] = ()
    """Learning rates to choose from; that of the loop's optimizer if empty."""
    seeds: tuple[Whole, ...] = (0,)
    """Random seeds of heads and batches; scores are means over them."""
    steps: Count | None = None
    """Number of training steps of every head, in place of the loop's: for a try."""
    most_cached: Nonnegative = 20.0
    """Most GiB of frames on disk, of each encoder, in float16. Frames that are more are streamed:
    the encoder runs in every step, in float32."""
    resources: TrainingResources = field(default_factory=TrainingResources)
    """Device and worker processes."""


@dataclass(frozen=True)
class HeadRuns:
    """What the runs of one task on one encoder have in common."""

    folder: Path
    """Folder of all of them."""
    loop: LoopConfig
    """Training loop, whose rate and seed each run replaces."""
    steps: int | None
    """Number of steps in place of those of the loop."""
    resources: TrainingResources
    stage: Stage
    method: Callable[[], nn.Module]
    """Makes an untrained head."""

    def place(self, rate: float, seed: int) -> Path:
        """Name the folder of a run."""
        return self.folder / f"rate-{rate:g}_seed-{seed}"

    def trained(
        self, rate: float, seed: int, source: Any, score: Callable[[Any], list[float]]
    ) -> list[float]:
        """Train a head and score it on validation cuts, unless that is done.

        Args:
            rate: Learning rate.
            seed: Random seed of the head and of batches.
            source: Where batches come from.
            score: Scores a trained head on validation cuts.
        """
        folder = self.place(rate, seed)
        done = folder / "valid.json"
        if not done.exists():
            loop = dataclasses.replace(
                self.loop,
                seed=seed,
                steps=self.steps or self.loop.steps,
                optimizer=dataclasses.replace(self.loop.optimizer, rate=rate),
            )
            torch.manual_seed(seed)
            method = self.method()
            folder.mkdir(parents=True, exist_ok=True)
            place = Place(folder, self.stage.device, self.resources, self.stage.log)
            train(method, source, loop, place)
            scores = score(method)
            if distributed.is_first():
                write_weights(folder / HEAD, method.state_dict(), {"format": "pt"})
                write_json(done, scores)
            distributed.barrier()
        found: list[float] = read_json(done)
        return found

    def loaded(self, rate: float, seed: int) -> Any:
        """Load a trained head."""
        method = self.method()
        path = self.place(rate, seed) / HEAD
        load_exactly(method, read_weights(path), str(path))
        return method

    def layer_shares(self, rate: float, seeds: Sequence[int]) -> list[float]:
        """Average the share of each layer over seeds."""
        logits = [read_weights(self.place(rate, seed) / HEAD)["layer_sum.logits"] for seed in seeds]
        shares = torch.stack(logits).softmax(dim=1).mean(dim=0)
        return [round(float(share), 4) for share in shares]


def differences_of(
    rows: Sequence[Mapping[str, Any]],
    metric: str,
    replicates: Callable[[Mapping[str, Any]], np.ndarray | None],
    config: BootstrapConfig,
) -> Iterator[dict[str, Any]]:
    """Compare the first row of a table with the others on the same draws.

    Args:
        rows: Scores of each encoder.
        metric: Figure that is compared.
        replicates: Reads the figure of a row in every draw; None where it has none.
        config: How many draws.
    """
    first = replicates(rows[0])
    for row in rows[1:]:
        other = replicates(row)
        if first is not None and other is not None:
            low, high = percentiles(first - other, config)
            gap = rows[0]["scores"][metric] - row["scores"][metric]
            names = {"encoder": rows[0]["encoder"], "reference": row["encoder"]}
            yield {**names, "difference": gap, "low": low, "high": high}
