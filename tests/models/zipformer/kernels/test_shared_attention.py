import pytest
import torch

from audiossl.models.zipformer.kernels import shared_attention
from audiossl.models.zipformer.kernels.shared_attention import (
    Application,
    Layout,
    attention_weights,
)

HEADS, QUERY, POSITION, VALUE, HIDDEN = 3, 5, 2, 4, 6
APPLICATIONS = (Application(1, HIDDEN), Application(HEADS, VALUE), Application(HEADS, VALUE))
LAYOUT = Layout(HEADS, QUERY, POSITION, APPLICATIONS)


def inputs(batch=2, length=9):
    channels = HEADS * (2 * QUERY + POSITION)
    shapes = [(batch, length, channels), (HEADS, POSITION, 2 * length - 1)]
    shapes += [(batch, each.heads, length, each.dim) for each in APPLICATIONS]
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def padded(batch, length):
    return torch.arange(length) >= torch.tensor([length, length - 3])[:batch, None]


def ours(projected, relative, *values, padding, keep=None, penalty=0.0):
    weights = attention_weights(projected, relative, padding, keep, layout=LAYOUT, penalty=penalty)
    return [weight.gather(value) for weight, value in zip(weights, values, strict=True)]


def scores_of(projected, relative, keep):
    """As the formula says it, with an index for every pair of frames."""
    batch, length, _ = projected.shape
    query, key, position = projected.split([HEADS * QUERY, HEADS * QUERY, HEADS * POSITION], dim=-1)
    query, key = (part.view(batch, length, HEADS, QUERY) for part in (query, key))
    position = position.view(batch, length, HEADS, POSITION)
    difference = torch.arange(length) - torch.arange(length)[:, None] + length - 1
    relative = relative[:, :, difference]
    by_position = torch.einsum("bthp,hpts->bhts", position, relative)
    if keep is not None:
        by_position = by_position * keep
    return torch.einsum("bthq,bshq->bhts", query, key) + by_position


def formula(projected, relative, *values, padding, keep=None):
    scores = scores_of(projected, relative, keep)
    weights = scores.masked_fill(padding[:, None, None], -1000.0).softmax(dim=-1)
    return [weights[:, : value.shape[1]] @ value for value in values]


@pytest.mark.parametrize("block", [2**19, 250, 90, 20, 1])
@pytest.mark.parametrize("batch", [1, 2])
def test_outputs_and_gradients_are_those_of_the_formula(monkeypatch, block, batch):
    monkeypatch.setattr(shared_attention, "BLOCK", block)
    arguments = inputs(batch)
    padding = padded(batch, 9)
    keep = torch.tensor([1.0, 0.0])[:batch, None, None, None]
    found = ours(*arguments, padding=padding, keep=keep)
    expected = formula(*arguments, padding=padding, keep=keep)
    seeds = [torch.randn_like(value) for value in expected]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    for one, other in zip(
        torch.autograd.grad(found, arguments, seeds),
        torch.autograd.grad(expected, arguments, seeds),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_a_use_that_is_not_made_costs_nothing_and_breaks_nothing():
    arguments = inputs()
    padding = padded(2, 9)
    for used in ([0], [1, 2], [2]):
        found = ours(*arguments, padding=padding)
        expected = formula(*arguments, padding=padding)
        one, other = (
            torch.autograd.grad(sum(x[use].square().sum() for use in used), arguments[:2])
            for x in (found, expected)
        )
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("block", [2**19, 20])
@pytest.mark.parametrize("batch", [1, 2])
def test_the_penalty_acts_on_scores_before_padding_is_masked(monkeypatch, batch, block):
    monkeypatch.setattr(shared_attention, "BLOCK", block)
    arguments = inputs(batch)
    projected, relative = arguments[:2]
    with torch.no_grad():
        projected *= 3.0
    padding = padded(batch, 9)
    scores = scores_of(projected, relative, None)
    beyond = (scores.abs() > 25.0).double() * scores.detach().sign()
    assert 0 < int(beyond.abs().sum()) < scores.numel() / 2
    expected = torch.autograd.grad((1e-4 * beyond * scores).sum(), (projected, relative))
    gradients = [
        torch.autograd.grad(
            sum(x.sum() for x in ours(*arguments, padding=padding, penalty=penalty)),
            (projected, relative),
        )
        for penalty in (1e-4, 0.0)
    ]
    for with_penalty, without, wanted in zip(*gradients, expected, strict=True):
        torch.testing.assert_close(with_penalty - without, wanted, atol=1e-9, rtol=1e-5)


def test_scores_within_their_limit_are_not_penalized_however_much_padding_there_is():
    arguments = inputs()
    padding = torch.arange(9) >= torch.tensor([9, 2])[:, None]
    with_penalty, without = (
        torch.autograd.grad(
            sum(x.square().sum() for x in ours(*arguments, padding=padding, penalty=penalty)),
            arguments[:2],
        )
        for penalty in (1e-4, 0.0)
    )
    assert all(map(torch.equal, with_penalty, without))
