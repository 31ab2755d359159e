"""Blocks of activations that stay in the caches of a CPU from one operation to the next."""

import itertools
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

BLOCK = 2**19
"""Values in a block: 2 MB in fp32, which caches hold."""

Place = tuple[slice, slice]
"""Some sequences of a batch, and some of their frames."""


def runs_on_caches(x: Tensor) -> bool:
    """Whether many small operations are cheap: eagerly on a CPU.

    An accelerator wants few large kernels, a compiled graph fuses by itself, and a traced one must
    hold for other values and lengths.
    """
    tracing = torch.jit.is_tracing()  # type: ignore[attr-defined]  # it is not in __all__
    return x.device.type == "cpu" and not torch.compiler.is_compiling() and not tracing


def slices(total: int, size: int) -> Iterator[slice]:
    """Cut `total` into slices of at most `size`.

    Example:
        >>> list(slices(7, 3))
        [slice(0, 3, None), slice(3, 6, None), slice(6, 7, None)]
    """
    return (slice(start, min(start + size, total)) for start in range(0, total, size))


def frame_blocks(x: Float[Tensor, "batch frames *rest"]) -> list[Place]:
    """Cut a batch into contiguous blocks, or into one, where they do not help."""
    everything = slice(None)
    batch, frames = x.shape[:2]
    if x.numel() <= BLOCK or not runs_on_caches(x):
        return [(everything, everything)]
    size = x[0].numel()
    if size <= BLOCK:
        return [(items, everything) for items in slices(batch, BLOCK // size)]
    rows = list(slices(frames, max(1, BLOCK * frames // size)))
    return list(itertools.product(slices(batch, 1), rows))


class Assembled:
    """What was computed of each block of a batch, put together."""

    def __init__(self, x: Float[Tensor, "batch frames *rest"]) -> None:
        self.places = frame_blocks(x)
        self.frames = x.shape[:2]
        self.whole = x.new_empty(0)

    def __setitem__(self, place: Place, part: Float[Tensor, "some some_frames *rest"]) -> None:
        """Take the part of a block; the only one is not copied."""
        if len(self.places) == 1:
            self.whole = part
            return
        if not self.whole.numel():
            self.whole = part.new_empty(*self.frames, *part.shape[2:])
        self.whole[place] = part


def in_blocks(
    function: Callable[[Tensor], Tensor], x: Float[Tensor, "batch frames *rest"]
) -> Float[Tensor, "batch frames *more"]:
    """Apply to each block what maps each frame for itself."""
    output = Assembled(x)
    for place in output.places:
        output[place] = function(x[place])
    return output.whole
