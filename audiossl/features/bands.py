"""Triangular bands of a spectrum, linear in mel, without most of the zeros of their matrix.

A band is zero but for a few neighboring bins. A few bands beside each other make a dense block:
with four of them a CPU multiplies a quarter of the matrix, which is most of a front end's time.
"""

import torch
from jaxtyping import Float
from torch import Tensor

NUM_BLOCKS = 4
"""More, smaller blocks have fewer zeros and slower products."""

Block = tuple[slice, slice]
"""Bins and bands of one dense part of a matrix."""


def triangles(
    bins: Float[Tensor, " bins"], edges: Float[Tensor, " edges"]
) -> Float[Tensor, "bins bands"]:
    """Weights of bins in bands with peak 1, each from an edge over the next to the one after it.

    Args:
        bins: Frequency of each bin, on the scale on which bands are triangles.
        edges: Two more than bands.

    Example:
        >>> triangles(torch.arange(4.0), torch.tensor([0.0, 1.0, 3.0])).flatten()
        tensor([0.0000, 1.0000, 0.5000, 0.0000])
    """
    left, center, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins[:, None] - left) / (center - left)
    falling = (right - bins[:, None]) / (right - center)
    return torch.minimum(rising, falling).clamp(min=0.0)


def blocks(bands: Float[Tensor, "bins bands"], count: int = NUM_BLOCKS) -> list[Block]:
    """Find the bins that each of `count` groups of neighboring bands needs."""
    num_bands = bands.shape[1]
    if bands.is_meta:
        return [(slice(0, len(bands)), slice(0, num_bands))]
    width = -(-num_bands // count)
    parts = []
    for first in range(0, num_bands, width):
        columns = slice(first, min(first + width, num_bands))
        used = bands[:, columns].any(dim=1).nonzero().flatten().tolist() or [0]
        parts.append((slice(used[0], used[-1] + 1), columns))
    return parts


def in_bands(
    spectra: Float[Tensor, "*shape bins"], bands: Float[Tensor, "bins bands"], parts: list[Block]
) -> Float[Tensor, "*shape bands"]:
    """Sum up each band: `spectra @ bands`.

    Args:
        spectra: Magnitudes or powers.
        bands: Weight of each bin in each band.
        parts: `blocks(bands)`.
    """
    if spectra.device.type != "cpu":
        return spectra @ bands  # one kernel costs an accelerator less than four
    return torch.cat([spectra[..., bins] @ bands[bins, some] for bins, some in parts], dim=-1)
