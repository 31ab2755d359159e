"""What every method is: a module whose forward pass is a training step's loss."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class Losses:
    """What one forward pass of a method is worth."""

    total: Float[Tensor, ""]
    """Mean over this rank's items; what is minimized."""
    weight: float = 1.0
    """How many items (pairs, frames) `total` is a mean of; ranks and accumulated batches are
    averaged with it, so that splitting a batch changes nothing. 0 where nothing counts,
    with a `total` of 0."""
    parts: Mapping[str, Float[Tensor, "*figures"]] = field(default_factory=dict)
    """Named figures for the log, detached, the same names in every batch: means over the items, or
    vectors of such, one a codebook, say. NaN where a batch has nothing of the kind."""
    part_weights: Mapping[str, Float[Tensor, ""]] = field(default_factory=dict)
    """How many items a part is a mean of, where that is another number than `weight`."""
    headlines: tuple[str, ...] | None = None
    """Parts that somebody who watches wants to see; None: all. Records have all of them."""


# Where parameters are sharded, hooks look for `total` in what a forward pass returns.
torch.export.register_dataclass(Losses)


@runtime_checkable
class Method(Protocol):
    """An encoder, the heads it needs in training, and a loss, as one module.

    `encoder` is what is exported at the end. Random draws come from `generator`, which every rank
    has seeded alike by (seed, step), and which begins anew in each part of a batch: draw for the
    rows of all ranks and parts and keep your own (`distributed.draw_rows`), and one process and
    several, a batch whole and in parts, see the same masks.
    """

    encoder: nn.Module

    def __call__(self, batch: Any, step: int, generator: torch.Generator) -> Losses:
        """Compute the losses of one batch at optimizer step `step`, counted from 0."""
        ...


@runtime_checkable
class Follower(Protocol):
    """A method with state that follows its parameters: moving averages, codebooks."""

    def follow(self) -> None:
        """Move that state; called once after every update, whatever the parts of the batch."""
        ...
