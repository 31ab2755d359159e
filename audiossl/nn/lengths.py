"""Lengths of padded sequences, and the masks they stand for."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from audiossl.errors import UserError


def check_lengths(lengths: Tensor, batch: int, size: int) -> None:
    """Refuse lengths that do not belong to a padded batch.

    Nothing is checked inside a compiled graph, nor on an accelerator, which would have to be waited
    for.

    Raises:
        UserError: There are not `batch` of them, or one is negative or more than `size`.
    """
    if lengths.shape != (batch,):
        raise UserError(f"lengths have shape {tuple(lengths.shape)}, but {batch} sequences came")
    if lengths.device.type != "cpu" or torch.compiler.is_compiling():
        return
    for row, length in enumerate(lengths.tolist()):
        if not 0 <= length <= size:
            raise UserError(f"sequence {row} has length {length}, but the batch is {size} long")


def valid_mask(lengths: Int[Tensor, " batch"], num_frames: int) -> Bool[Tensor, "batch frames"]:
    """Mark with True the frames that belong to each sequence.

    Example:
        >>> valid_mask(torch.tensor([2, 0]), 3)
        tensor([[ True,  True, False],
                [False, False, False]])
    """
    return torch.arange(num_frames, device=lengths.device) < lengths[:, None]


def padding_mask(lengths: Int[Tensor, " batch"], num_frames: int) -> Bool[Tensor, "batch frames"]:
    """Mark with True the frames that are padding."""
    return ~valid_mask(lengths, num_frames)
