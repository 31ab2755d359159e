import pytest
import torch

from audiossl.models.zipformer.training.whitening import whiten


def metric(x, groups=1):
    """As its source states it."""
    x = x.flatten(0, -2).unflatten(-1, (groups, -1)).transpose(0, 1)
    x = x - x.mean(dim=1, keepdim=True)
    covariance = x.mT @ x
    variance = covariance.diagonal(dim1=1, dim2=2).mean()
    return covariance.square().sum() / (groups * x.shape[-1]) / variance.square()


def degenerate():
    """Channels that mostly do the same."""
    return torch.randn(3, 40, 1) + 0.3 * torch.randn(3, 40, 8)


@pytest.mark.parametrize("groups", [1, 2])
def test_the_added_gradient_is_autograds_of_the_stated_metric(groups):
    x, gradient = degenerate().requires_grad_(), torch.randn(3, 40, 8)
    stated = metric(x, groups)
    changed = whiten(x, torch.tensor(1.5), torch.tensor(0.02), groups=groups)
    assert torch.equal(changed, x)
    (found,) = torch.autograd.grad(changed, x, gradient)
    (slope,) = torch.autograd.grad(stated, x)
    expected = gradient + 0.02 * gradient.norm() / slope.norm() * slope
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


def test_what_is_white_enough_is_left_alone():
    x, gradient = torch.randn(3, 200, 8, requires_grad=True), torch.randn(3, 200, 8)
    assert float(metric(x.detach())) < 1.2
    (found,) = torch.autograd.grad(whiten(x, torch.tensor(2.0), torch.tensor(0.02)), x, gradient)
    assert torch.equal(found, gradient)


def test_following_the_gradient_whitens():
    x = degenerate()
    before = float(metric(x))
    for _ in range(50):
        x = x.detach().requires_grad_()
        gradient = torch.randn_like(x)
        (found,) = torch.autograd.grad(
            whiten(x, torch.tensor(1.5), torch.tensor(0.02)), x, gradient
        )
        x = x - found + gradient
    assert float(metric(x.detach())) < 0.9 * before


def test_some_channels_alone():
    x, gradient = degenerate().requires_grad_(), torch.randn(3, 40, 8)
    changed = whiten(x, torch.tensor(1.5), torch.tensor(0.02), slice(0, 4))
    (found,) = torch.autograd.grad(changed, x, gradient)
    assert torch.equal(found[..., 4:], gradient[..., 4:])
    assert not torch.equal(found[..., :4], gradient[..., :4])
