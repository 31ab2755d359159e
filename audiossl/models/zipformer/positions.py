"""Compact relative positions: an encoding of time differences that resolves near ones finely.

Source: Zipformer (Yao et al., 2024), appendix, and its public implementation: differences are
squashed by a logarithm and an arc tangent, and the angle that results is expanded in a Fourier
series. Row `length - 1 + n` stands for a difference of n frames.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from audiossl.nn.graphs import for_any_length


def relative_positions(
    length: int, dim: int, device: torch.device | None = None
) -> Float[Tensor, "differences dim"]:
    """Encode the 2 · length - 1 differences between frames, from -(length - 1) to length - 1.

    Example:
        >>> relative_positions(5, dim=8).shape  # differences from -4 to 4
        torch.Size([9, 8])
    """
    width = math.sqrt(dim)
    difference = torch.arange(1 - length, length, device=device, dtype=torch.float32)
    squashed = width * difference.sign() * torch.log1p(difference.abs() / width)
    angle = torch.atan(squashed * (2.0 * math.pi / dim))
    order = torch.arange(1, dim // 2 + 1, device=device, dtype=torch.float32)
    phase = angle[:, None] * order
    encoding = torch.stack([phase.cos(), phase.sin()], dim=-1).flatten(1)
    # The last sine gives its place to a constant.
    return torch.cat([encoding[:, :-1], torch.ones_like(encoding[:, :1])], dim=1)


def for_length(
    positions: Float[Tensor, "differences dim"], length: int
) -> Float[Tensor, "fewer dim"]:
    """Keep the differences that occur within `length` frames, which is not longer than before."""
    if for_any_length():  # of lengths, nobody can say there which is longer
        return relative_positions(length, positions.shape[1], positions.device).to(positions.dtype)
    center = positions.shape[0] // 2
    return positions[center - length + 1 : center + length]
