import math

import pytest
import torch

from audiossl.models.zipformer.training.balancing import STRENGTH, balance, bounds


def excess(x, limits):
    """What a Balancer keeps small, as its source states it, for every channel."""
    least_ratio, greatest_ratio, least_rms, greatest_rms, _ = limits
    mean, rms = x.mean(dim=0), x.square().mean(dim=0).sqrt()
    ratio = mean / (rms.square() - mean.square()).sqrt()
    beyond = (ratio - ratio.clamp(least_ratio, greatest_ratio)).abs()
    return beyond + (rms.clamp(least_rms, greatest_rms) / rms).log().abs()


LIMITS = bounds((0.3, 0.7), (0.5, 2.0))


def channels():
    """Fine; too large; too small; mostly positive; mostly negative and too small."""
    offset = torch.tensor([0.0, 0.0, 0.0, 1.5, -0.3])
    scale = torch.tensor([1.0, 9.0, 0.1, 1.0, 0.2])
    return torch.randn(400, 5) * scale + offset


def test_the_added_gradient_is_autograds_of_the_stated_excess():
    x, gradient = channels().requires_grad_(), torch.randn(400, 5)
    (found,) = torch.autograd.grad(balance(x, torch.tensor(LIMITS)), x, gradient)
    (slope,) = torch.autograd.grad(excess(x, LIMITS).sum(), x)
    slope = STRENGTH * slope / slope.square().mean(dim=0).sqrt().clamp(min=1e-20)
    torch.testing.assert_close(found, gradient + gradient.abs() * slope, atol=1e-4, rtol=1e-4)
    assert torch.equal(found[:, 0], gradient[:, 0])


@pytest.mark.parametrize("channel", [1, 2, 3, 4])
def test_a_violating_channel_is_pushed_back(channel):
    x = channels().requires_grad_()
    before = float(excess(x.detach(), LIMITS)[channel])
    for _ in range(200):
        # The gradient of a loss that asks for nothing: of random signs, 0 on average.
        gradient = torch.randn(400, 5)
        (found,) = torch.autograd.grad(balance(x, torch.tensor(LIMITS)), x, gradient)
        x = (x - 0.5 * (found - gradient)).detach().requires_grad_()
    assert float(excess(x.detach(), LIMITS)[channel]) < 0.9 * before


def test_only_the_given_channels_are_balanced_and_the_shift_is_counted():
    x, gradient = torch.randn(50, 6, requires_grad=True), torch.randn(50, 6)
    limits = torch.tensor(LIMITS)
    (found,) = torch.autograd.grad(balance(x, limits, slice(2, 4), plus=3.0), x, gradient)
    assert torch.equal(found[:, :2], gradient[:, :2])
    assert torch.equal(found[:, 4:], gradient[:, 4:])
    inner = (x.detach()[:, 2:4] + 3.0).requires_grad_()
    (expected,) = torch.autograd.grad(balance(inner, limits), inner, gradient[:, 2:4])
    torch.testing.assert_close(found[:, 2:4], expected)


def test_bounds_are_those_of_the_public_implementation():
    found = bounds((0.25, 1.0), (0.5, 4.0))
    assert math.erf(found.least_ratio) == pytest.approx(2 * 0.25 - 1, abs=0.03)
    assert found.greatest_ratio == pytest.approx(9.65308, abs=1e-5)
    assert found.least_rms == pytest.approx(0.5 * math.sqrt(math.pi / 2))


@pytest.mark.parametrize("frames", [1, 6, 1000])
@pytest.mark.parametrize(
    ("value", "expected"),
    # What the public implementation gives one frame and six.
    [(-0.7, 0.96), (0.5, 1.04), (1.0, 1.04), (0.123456, 1.04), (1e-8, 1.04), (0.0, 1.0)],
)
def test_a_constant_channel_is_moved_as_by_the_public_implementation(value, expected, frames):
    x = torch.full((frames, 2), value)
    x[:, 1] = torch.randn(frames)
    x.requires_grad_()
    (found,) = torch.autograd.grad(balance(x, torch.tensor(LIMITS)).sum(), x)
    torch.testing.assert_close(found[:, 0], torch.full((frames,), expected))
    assert found.isfinite().all()


@pytest.mark.parametrize("spread", [1e-20, 1e-12, 1e-8, 1e-6, 1e-4, 1e-2])
@pytest.mark.parametrize("mean", [0.0, 1e-12, 1e-3, 0.7, 30.0])
def test_however_little_a_channel_varies_what_is_added_is_finite_and_bounded(spread, mean):
    x = (mean + spread * torch.randn(200, 1)).requires_grad_()
    (found,) = torch.autograd.grad(balance(x, torch.tensor(LIMITS)).sum(), x)
    assert float((found - 1.0).square().mean().sqrt()) < 1.5 * STRENGTH
