"""Spans that are hidden from the student: the static scheme of wav2vec 2.0, as SPEAR uses it.

A sequence of n positions gets floor(p n / length + u) spans, u uniform in [0, 1), at least
`min_spans` and at most n // length; they start at distinct places in [0, n - length) and may
overlap. Everything is drawn for a whole batch at once.

Source: the authors' code of SPEAR (`marcoyang1998/icefall`, `at_asr_multi_kd`), which follows
fairseq's `compute_mask_indices`.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


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
    """
    wanted = (probability * lengths / span + draws[:, 0]).floor().long()
    wanted = torch.minimum(wanted.clamp(min=min_spans), lengths // span)
    room = lengths - span
    # Sequences that are too short for that many distinct starts get starts that may overlap fully.
    room = torch.where(room <= wanted, wanted + 1, room)
    places = torch.arange(size, device=lengths.device)
    keys = draws[:, 1:].masked_fill(places >= room[:, None], 2.0)
    starts = keys.argsort(dim=1).argsort(dim=1) < wanted[:, None]
    # A position is hidden if a span started at it or at one of the span - 1 before it.
    counted = starts.int().cumsum(dim=1)
    before = torch.nn.functional.pad(counted, (span, 0))[:, :size]
    return ((counted - before) > 0) & (places < lengths[:, None])
