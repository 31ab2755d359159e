"""Spans that are hidden from the student: the static scheme of wav2vec 2.0, as SPEAR uses it.

A sequence of n positions gets floor(p n / length + u) spans, u uniform in [0, 1), at least
`min_spans` and at most n // length; they start at distinct places in [0, n - length) and may
overlap. Everything is drawn for a whole batch at once.

Source: the authors' code of SPEAR (`marcoyang1998/icefall`, `at_asr_multi_kd`), which follows
fairseq's `compute_mask_indices`.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F


def span_masks(
    lengths: Int[Tensor, " batch"],
    size: int,
    *,
    probability: float,
    span: int,
    min_spans: int,
    draws: Float[Tensor, "batch size_and_one"],
) -> Bool[Tensor, "batch size"]:
    """Choose spans to hide.

    Args:
        lengths: Valid positions of each sequence.
        size: Positions of the result; what lies beyond a length is never hidden.
        probability: About the share of positions that would be hidden without overlaps.
        span: Positions of one span.
        min_spans: Least number of spans, room permitting.
        draws: Uniform in [0, 1): the first of a row rounds the number of spans, the others order
            the places where spans may start.

    Returns:
        True where hidden.

    Example:
        >>> draws = torch.rand(1, 9, generator=torch.Generator().manual_seed(0))
        >>> hidden = span_masks(
        ...     torch.tensor([8]), 8, probability=0.4, span=3, min_spans=1, draws=draws
        ... )
        >>> hidden.int()
        tensor([[0, 1, 1, 1, 0, 0, 0, 0]], dtype=torch.int32)
    """
    wanted = (probability * lengths / span + draws[:, 0]).floor().long()
    wanted = torch.minimum(wanted.clamp(min=min_spans), lengths // span)
    room = lengths - span
    # Sequences that are too short for that many distinct starts get starts that may overlap fully.
    room = torch.where(room <= wanted, wanted + 1, room)
    places = torch.arange(size, device=lengths.device)
    keys = draws[:, 1:].masked_fill(places >= room[:, None], 2.0)
    # The key of the last chosen start; of two equal ones, which are rare, both are chosen.
    counts = wanted.clamp(min=1)
    last = _lowest(keys, counts).gather(1, counts[:, None] - 1)
    starts = (keys <= last) & (wanted > 0)[:, None]
    return _covered(starts, span) & (places < lengths[:, None])


def _lowest(
    keys: Float[Tensor, "batch size"], counts: Int[Tensor, " batch"]
) -> Float[Tensor, "batch most"]:
    """Sort at least the lowest `counts` keys of each row.

    On a CPU by NumPy, which has vector instructions to part them from the others and to sort them;
    elsewhere all, as a device would have to wait for how many they are.
    """
    if keys.device.type == "cpu" and not torch.compiler.is_compiling():
        most = int(counts.max())
        parted = np.partition(keys.numpy(), most - 1, axis=1)[:, :most]
        return torch.from_numpy(np.sort(parted, axis=1))
    return keys.sort(dim=1).values


def _covered(starts: Bool[Tensor, "batch size"], span: int) -> Bool[Tensor, "batch size"]:
    """Mark the positions that a span covers: those of a start and of the span - 1 behind it."""
    covered, width = starts, 1
    while width < span:  # what spans of half the width cover, twice
        shift = min(width, span - width)
        covered = covered | F.pad(covered, (shift, 0))[:, : starts.shape[1]]
        width += shift
    return covered
