"""Blocks of activations that stay in the caches of a CPU from one operation to the next."""

import itertools
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

BLOCK = 2**19
"""Values in a block: 2 MB in fp32, which caches hold."""

Place = tuple[slice, slice]
"""Some sequences of a batch, and some of their frames."""


def are_useful(x: Tensor) -> bool:
    """Whether blocks help: an accelerator wants large kernels, a compiled graph no long loops."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def slices(total: int, size: int) -> Iterator[slice]:
    """Cut `total` into slices of at most `size`."""
    return (slice(start, min(start + size, total)) for start in range(0, total, size))


def frame_blocks(x: Float[Tensor, "batch frames *rest"]) -> list[Place]:
    """Cut a batch into contiguous blocks, or into one, where they do not help."""
    everything = slice(None)
    batch, frames = x.shape[:2]
    if x.numel() <= BLOCK or not are_useful(x):
        return [(everything, everything)]
    size = x[0].numel()
    if size <= BLOCK:
        return [(items, everything) for items in slices(batch, BLOCK // size)]
    rows = list(slices(frames, max(1, BLOCK * frames // size)))
    return list(itertools.product(slices(batch, 1), rows))
