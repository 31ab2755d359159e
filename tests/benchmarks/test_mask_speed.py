"""Span masks of a batch against the loop over rows of transformers' wav2vec 2.0."""

import pytest
import torch

from audiossl.nn.span_masks import span_masks
from tests.benchmarks.rounds import compare


@pytest.mark.parametrize(
    ("rows", "size", "probability", "span"),
    [(16, 1500, 0.65, 10), (128, 500, 0.65, 10), (64, 128, 0.25, 20)],
)
def test_span_masks(rows, size, probability, span):
    wav2vec2 = pytest.importorskip("transformers.models.wav2vec2.modeling_wav2vec2")
    lengths = torch.full((rows,), size)

    def ours():
        draws = torch.rand(rows, size + 1)
        return span_masks(
            lengths, size, probability=probability, span=span, min_spans=0, draws=draws
        )

    def theirs():
        return wav2vec2._compute_mask_indices((rows, size), probability, span)

    hidden = sum(float(ours().float().mean()) for _ in range(20)) / 20
    expected = sum(float(theirs().mean()) for _ in range(20)) / 20
    assert hidden == pytest.approx(expected, abs=0.02)
    ratio = compare(
        f"span masks, {rows} x {size}, against transformers", ours, theirs, goal=2.0,
        floor="of 20 ns a place, 4 are to draw a number for it, 2 to part the lowest from the "
        "others, and the rest ten passes over short rows; the peer draws starts alone",
    )  # fmt: skip
    assert ratio > 0.85
