"""Sequences of different lengths in one tensor."""

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor


def padded(
    rows: Iterable[Shaped[np.ndarray, "..."]], size: int = 0
) -> tuple[Shaped[Tensor, "batch size ..."], Int[Tensor, " batch"]]:
    """Put sequences into one tensor, zero behind their ends, and say how long each is.

    Args:
        rows: Sequences of one type; all axes but the first are of one size.
        size: Least length of the result, which is otherwise that of the longest sequence.

    >>> padded([np.array([1, 2, 3]), np.array([4])])
    (tensor([[1, 2, 3],
            [4, 0, 0]]), tensor([3, 1]))
    """
    sequences = list(rows)
    lengths = [len(sequence) for sequence in sequences]
    first = sequences[0]
    whole = np.empty((len(sequences), max(size, *lengths), *first.shape[1:]), first.dtype)
    for row, sequence in zip(whole, sequences, strict=True):
        row[: len(sequence)] = sequence
        row[len(sequence) :] = 0
    return torch.from_numpy(whole), torch.tensor(lengths)
