"""Dropout whose masks are drawn for the rows of all ranks, so that each has others."""

import torch
from jaxtyping import Float
from torch import Tensor

from audiossl import distributed


def dropout(
    x: Float[Tensor, "batch *shape"], rate: float, generator: torch.Generator
) -> Float[Tensor, "batch *shape"]:
    """Zero values at random, and scale the others up to the same mean.

    Args:
        x: Values of this rank's rows.
        rate: Probability of a value to be zeroed, below 1.
        generator: Source of chance, seeded alike on all ranks.

    Example:
        >>> dropout(torch.ones(1, 6), 0.5, torch.Generator().manual_seed(0))
        tensor([[0., 2., 0., 0., 0., 2.]])
    """
    if rate == 0:
        return x
    uniform = distributed.draw_rows(
        len(x), lambda rows: torch.rand(rows, *x.shape[1:], device=x.device, generator=generator)
    )
    return x * (uniform >= rate) / (1 - rate)
