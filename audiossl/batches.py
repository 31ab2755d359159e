"""What data hands to methods: typed batches, which both rooms may know."""

from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

AnyBatch = TypeVar("AnyBatch")


@dataclass(frozen=True)
class ViewBatch:
    """Pairs of crops that belong together, as waveforms."""

    anchors: Float[Tensor, "batch samples"]
    """Crops of recordings (mixtures, in music)."""
    positives: Float[Tensor, "batch samples"]
    """Crops of the same recordings, or of one of their stems."""
    active: Bool[Tensor, " batch"]
    """Whether the positive's source sounds in its segment; False stands for a null input."""
    recordings: Int[Tensor, " batch"]
    """Which recording each pair is from, to leave out negatives from the same one."""
    source: str = "mixture"
    """Name of the source of all positives; "mixture" for crops of the recording itself."""


def to_device(batch: AnyBatch, device: torch.device) -> AnyBatch:
    """Copy the tensors of a batch, which is a dataclass, to `device`."""
    moved = {
        field.name: value.to(device, non_blocking=True)
        for field in fields(batch)  # type: ignore[arg-type]
        if isinstance(value := getattr(batch, field.name), Tensor)
    }
    return replace(batch, **moved)  # type: ignore[type-var]


def split_batch(batch: AnyBatch, parts: int) -> list[AnyBatch]:
    """Split the rows of a batch into equal parts; what is no tensor goes with each."""
    if parts == 1:
        return [batch]
    chunks = {
        field.name: value.chunk(parts)
        for field in fields(batch)  # type: ignore[arg-type]
        if isinstance(value := getattr(batch, field.name), Tensor)
    }
    count = min(len(pieces) for pieces in chunks.values())
    return [
        replace(batch, **{name: pieces[i] for name, pieces in chunks.items()})  # type: ignore[type-var]
        for i in range(count)
    ]
