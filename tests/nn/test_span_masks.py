import numpy as np
import pytest
import torch

from audiossl.nn.span_masks import span_masks
from tests.oracles.span_masks import naive_spans


def _drawn(lengths, size, seed=0, **settings):
    draws = torch.rand(len(lengths), size + 1, generator=torch.Generator().manual_seed(seed))
    return span_masks(torch.tensor(lengths), size, draws=draws, **settings)


@pytest.mark.parametrize(
    ("probability", "span", "least", "size", "expected"),
    [
        (0.5, 10, 2, 1500, 0.40),
        (0.65, 10, 2, 1500, 0.49),
        (0.25, 15, 0, 128, 0.23),
        (0.25, 20, 0, 128, 0.23),
    ],
)
def test_coverage_is_that_of_the_authors_scheme(probability, span, least, size, expected):
    masks = _drawn([size] * 2000, size, probability=probability, span=span, min_spans=least)
    generator = np.random.default_rng(0)
    naive = [naive_spans(size, probability, span, least, generator) for _ in range(2000)]
    assert float(masks.float().mean()) == pytest.approx(expected, abs=0.01)
    assert float(masks.float().mean()) == pytest.approx(np.mean(naive), abs=0.005)
    # The distribution of the number of hidden positions too, not its mean alone.
    ours, theirs = masks.sum(1).double().std(), np.std([m.sum() for m in naive])
    assert float(ours) == pytest.approx(theirs, rel=0.1)


def test_padding_is_never_hidden_and_every_run_is_a_union_of_spans():
    lengths = [300, 120, 60, 25, 21]
    masks = _drawn(lengths, 300, probability=0.5, span=10, min_spans=2)
    for mask, length in zip(masks, lengths, strict=True):
        assert not mask[length:].any()
        padded = torch.nn.functional.pad(mask.int(), (1, 1)).diff()
        runs = (padded == -1).nonzero() - (padded == 1).nonzero()
        assert int(runs.min()) >= 10


def test_the_number_of_spans_has_its_bounds():
    none = _drawn([128] * 50, 128, probability=0.0, span=15, min_spans=0)
    assert not none[:, :].any()
    two = _drawn([1000] * 50, 1000, probability=0.0, span=10, min_spans=2)
    assert set(two.sum(1).tolist()) <= set(range(11, 21))
    few = _drawn([15] * 50, 15, probability=0.9, span=10, min_spans=2)
    assert (few.sum(1) == 10).all()
    assert not _drawn([9], 9, probability=0.9, span=10, min_spans=2).any()


def test_the_same_draws_give_the_same_masks_whatever_the_padding():
    draws = torch.rand(3, 201)
    short = span_masks(
        torch.tensor([100, 80, 60]), 100, probability=0.5, span=10, min_spans=2,
        draws=draws[:, :101],
    )  # fmt: skip
    long = span_masks(
        torch.tensor([100, 80, 60]), 200, probability=0.5, span=10, min_spans=2, draws=draws
    )
    assert torch.equal(long[:, :100], short)
