"""A method and a source of batches that take no time."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from audiossl import distributed
from audiossl.data.plan import Plan, PlanConfig, Position
from audiossl.methods.method import Losses
from audiossl.optim.build import AdamWConfig, ScaledAdamConfig
from audiossl.optim.eden import EdenConfig
from audiossl.optim.schedules import CosineConfig
from audiossl.training.loop import LoopConfig, LoopResources, Place


@dataclass(frozen=True)
class Batch:
    inputs: Tensor
    targets: Tensor


class Source:
    """Points on a plane in ten dimensions; one of them may be NaN."""

    def __init__(self, batch_size: int = 8, nan_at: int = -1) -> None:
        generator = np.random.default_rng(0)
        self.inputs = generator.normal(size=(50, 10)).astype(np.float32)
        self.targets = self.inputs.sum(1, keepdims=True)
        if nan_at >= 0:
            self.inputs[nan_at] = np.nan
        config = PlanConfig(batch_size=batch_size, num_buckets=1)
        self.plan = Plan(np.full(50, 16000), 16000, config)

    def load(self, position: Position, rank: int = 0, world_size: int = 1) -> Batch:
        cuts = self.plan.epoch(position.epoch).cuts(position.batch)
        cuts = np.array_split(cuts, world_size)[rank]
        return Batch(torch.from_numpy(self.inputs[cuts]), torch.from_numpy(self.targets[cuts]))


class Method(nn.Module):
    """Linear regression with dropout, noise from the generator, and a loss that is a mean."""

    def __init__(self, dropout: float = 0.2, noise: float = 0.1) -> None:
        super().__init__()
        self.noise = noise
        self.encoder = nn.Sequential(nn.Dropout(dropout), nn.Linear(10, 1))

    def forward(self, batch: Batch, step: int, generator: torch.Generator) -> Losses:
        noise = distributed.draw_rows(
            len(batch.inputs), lambda rows: torch.randn(rows, 10, generator=generator)
        )
        noisy = batch.inputs + self.noise * noise
        errors = (self.encoder(noisy) - batch.targets).square()
        return Losses(errors.mean(), float(len(errors)), {"largest": errors.detach().max()})


ADAM_W = AdamWConfig(rate=0.05, schedule=CosineConfig(warmup_steps=3), clip_norm=5.0)
SCALED_ADAM = ScaledAdamConfig(schedule=EdenConfig(step_scale=10.0, warmup_steps=3))


def loop_config(steps: int = 20, **settings: object) -> LoopConfig:
    return LoopConfig(**{"steps": steps, "optimizer": ADAM_W, **settings})


def place(folder: Path, **settings: object) -> Place:
    resources = LoopResources(log_every=3, save_every=4, **settings)
    return Place(folder, torch.device("cpu"), resources, logging.getLogger("toy"))


def method(**settings: float) -> Method:
    torch.manual_seed(0)
    return Method(**settings)
