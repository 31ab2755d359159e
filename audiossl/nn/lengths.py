"""Lengths of padded sequences, and the masks they stand for."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def valid_mask(lengths: Int[Tensor, " batch"], num_frames: int) -> Bool[Tensor, "batch frames"]:
    """Mark with True the frames that belong to each sequence."""
    return torch.arange(num_frames, device=lengths.device) < lengths[:, None]


def padding_mask(lengths: Int[Tensor, " batch"], num_frames: int) -> Bool[Tensor, "batch frames"]:
    """Mark with True the frames that are padding."""
    return ~valid_mask(lengths, num_frames)
