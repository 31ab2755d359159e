import torch
from torch.nn import functional as F

from audiossl.models.zipformer.kernels.depthwise import depthwise_frames, depthwise_image


def assert_same(found, expected, inputs):
    """Compare outputs, and gradients by all inputs."""
    torch.testing.assert_close(found, expected)
    seed = torch.randn_like(expected)
    for one, other in zip(
        torch.autograd.grad(found, inputs, seed),
        torch.autograd.grad(expected, inputs, seed),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_frames_are_convolved_as_by_torch():
    frames = torch.randn(2, 12, 6, requires_grad=True)
    weight, bias = torch.randn(6, 1, 5, requires_grad=True), torch.randn(6, requires_grad=True)
    expected = F.conv1d(frames.mT, weight, bias, padding=2, groups=6).mT
    assert_same(depthwise_frames(frames, weight, bias), expected, (frames, weight, bias))


def test_images_are_convolved_as_by_torch():
    last = torch.randn(2, 9, 7, 6)
    image = last.permute(0, 3, 1, 2).requires_grad_()
    weight, bias = torch.randn(6, 1, 5, 3, requires_grad=True), torch.randn(6, requires_grad=True)
    expected = F.conv2d(image, weight, bias, padding=(2, 1), groups=6)
    assert_same(depthwise_image(image, weight, bias), expected, (image, weight, bias))
