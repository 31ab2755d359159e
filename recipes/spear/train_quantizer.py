"""Stage: train a quantizer on a sample of a teacher's frames."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audiossl import distributed
from audiossl.atomic_files import read_json, reading
from audiossl.configs import Count, Share
from audiossl.errors import UserError
from audiossl.nn.weights import read_weights, write_state
from audiossl.preemption import safe_point
from audiossl.pretrained.units import COPY, FACTS, QUANTIZER
from audiossl.quantization.quantizer import CodebookQuantizer
from audiossl.quantization.standardized import Standardized, frame_statistics
from audiossl.quantization.storage import write_quantizer
from audiossl.quantization.train import QuantizerConfig, Training, batches_for, train_quantizer
from audiossl.quantization.usage import code_usage, count_codes
from recipes.stage import Resources, Stage, main

STATE = "state.pt"


@dataclass(frozen=True, kw_only=True)
class SavingResources(Resources):
    """What training works with: none of it changes the result."""

    save_every: Count = 1000
    """Number of steps between checkpoints."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Train a quantizer on a sample of frames."""

    frames: Path
    """Output of `recipes.spear.embed_sample`."""
    output: Path
    """Folder of the quantizer."""
    quantizer: QuantizerConfig
    """Quantizer to train: kind direct_sum, residual, or kmeans."""
    standardize: bool = True
    """Whether every dimension is brought to zero mean and unit variance first, as SPEAR does for
    WavLM (and not for Dasheng)."""
    held_out: Share = 0.05
    """Share of the frames, of at most 10 000, that are only used to measure the quantization
    error."""
    resources: SavingResources = field(default_factory=SavingResources)
    """Device and worker processes."""


def train(config: Config, stage: Stage) -> dict[str, Any]:
    """Write quantizer.safetensors."""
    path = config.frames / "frames.npy"
    with reading(path, "sample of recipes.spear.embed_sample"):
        frames = np.load(path, mmap_mode="r", allow_pickle=False)
    # The sample is in random order: its beginning is as good as any part.
    num_held_out = min(10_000, int(config.held_out * len(frames)))
    held_out, frames = frames[:num_held_out], frames[num_held_out:]
    stage.log.info("%d frames of %d, %d held out", *frames.shape, num_held_out)
    batches = batches_for(config.quantizer, frames, stage.device).then(_stopping)
    statistics = frame_statistics(frames) if config.standardize else None
    if statistics is not None:
        mean, deviation = (values.to(stage.device) for values in statistics)
        batches = batches.then(lambda batch: (batch - mean) / deviation)
    quantizer: CodebookQuantizer = _trained(batches, config, stage).quantizer
    if statistics is not None:
        quantizer = Standardized(quantizer, *statistics)
    quality = _quality(quantizer, held_out) if num_held_out else {}
    stage.log.info("quantizer %s, on held-out frames: %s", quantizer.id, quality)
    if distributed.is_first():
        write_quantizer(stage.output / QUANTIZER, quantizer)
        _copy_encoder(config.frames, stage.output)
        (stage.output / STATE).unlink(missing_ok=True)
    return {"quantizer": quantizer.id, **quality, **_provenance(config)}


def _stopping(batch: Tensor) -> Tensor:
    safe_point()
    return batch


def _trained(batches: Any, config: Config, stage: Stage) -> Training:
    """Train in pieces, keeping the state after each."""
    path, total = stage.output / STATE, config.quantizer.total_steps
    state = read_weights(path) if path.exists() else None
    distributed.barrier()
    while True:
        training = train_quantizer(
            batches, config.quantizer, state, num_steps=config.resources.save_every
        )
        stage.log.info("step %d of %d", training.step, total)
        if training.step >= total:
            return training
        state = training.state_dict()
        if distributed.is_first():
            write_state(path, state)


def _quality(quantizer: CodebookQuantizer, frames: np.ndarray) -> dict[str, float]:
    """Measure on frames what decoding loses, and how evenly entries are chosen.

    Returns:
        relative_error: squared error over the squared distance from the mean; code_perplexity: mean
        over codebooks; dead_entries: share of all entries that no frame chose.
    """
    true = torch.from_numpy(np.asarray(frames, np.float32))
    quantizer = quantizer.to("cpu").eval()
    codes = quantizer.encode(true)
    lost = (quantizer.decode(codes) - true).double().square().sum()
    variance = (true - true.mean(dim=0)).double().square().sum().clamp(min=1e-20)
    usage = code_usage(count_codes(codes, quantizer.codebook_size))
    dead = usage.num_dead.double().mean() / quantizer.codebook_size
    return {
        "relative_error": round(float(lost / variance), 6),
        "code_perplexity": round(float(usage.code_perplexity.mean()), 2),
        "dead_entries": round(float(dead), 4),
    }


def _copy_encoder(sample: Path, output: Path) -> None:
    """Let the quantizer's folder say whose frames it takes, and hold that encoder."""
    if (sample / COPY).is_dir():
        shutil.copytree(sample / COPY, output / COPY, dirs_exist_ok=True)
    if (sample / FACTS).is_file():
        shutil.copyfile(sample / FACTS, output / FACTS)


def _provenance(config: Config) -> dict[str, Any]:
    """Describe the teacher of the frames, for `encode` to compare."""
    record = config.frames / "stage.json"
    if not record.exists():
        return {}
    results = read_json(record)["results"]
    if "teacher" not in results:
        raise UserError(f"{config.frames}: is not the output of recipes.spear.embed_sample")
    return {name: results[name] for name in ("teacher", "source", "dim", "frame_rate")}


if __name__ == "__main__":
    main(Config, train, "recipes.spear.train_quantizer")
