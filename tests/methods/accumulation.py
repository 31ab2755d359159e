"""Backward passes of a batch in parts, on one rank or on several."""

from collections.abc import Callable
from typing import Any

import torch

from audiossl import distributed
from audiossl.batches import micro_batches
from audiossl.methods.method import Losses


def accumulate(losses_of: Callable[[Any], Losses], own: Any, parts: int) -> tuple[float, float]:
    """Go through this rank's batch in parts; the mean loss of all ranks, and its weight."""
    total, weight = 0.0, 0.0
    for index, part in enumerate(micro_batches(own, parts)):
        with distributed.micro_batch(index, parts):
            losses = losses_of(part)
        (losses.total * losses.weight).backward()
        total, weight = total + float(losses.total.detach()) * losses.weight, weight + losses.weight
    sums = distributed.total(torch.tensor([total, weight], dtype=torch.float64))
    return float(sums[0] / sums[1]), float(sums[1])
