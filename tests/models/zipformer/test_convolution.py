import torch
from torch.autograd import gradcheck
from torch.nn import functional as F

from audiossl.models.zipformer.convolution import ConvolutionModule, depthwise, gated


def test_the_depthwise_convolution_is_torchs():
    frames = torch.randn(2, 12, 6, requires_grad=True)
    weight, bias = torch.randn(6, 1, 5, requires_grad=True), torch.randn(6, requires_grad=True)
    found = depthwise(frames, weight, bias)
    expected = F.conv1d(frames.mT, weight, bias, padding=2, groups=6).mT
    torch.testing.assert_close(found, expected)
    seed = torch.randn_like(expected)
    for one, other in zip(
        torch.autograd.grad(found, (frames, weight, bias), seed),
        torch.autograd.grad(expected, (frames, weight, bias), seed),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_gates_have_the_gradient_of_their_formula():
    projected = torch.randn(2, 4, 6, dtype=torch.float64, requires_grad=True)
    padding = torch.arange(4) >= torch.tensor([4, 2])[:, None]
    value, gate = projected.chunk(2, dim=-1)
    expected = (value * gate.sigmoid()).masked_fill(padding[..., None], 0.0)
    torch.testing.assert_close(gated(projected, padding), expected)
    assert gradcheck(lambda x: gated(x, padding), (projected,))


@torch.inference_mode()
def test_padding_does_not_reach_its_neighbors():
    module = ConvolutionModule(8, 7)
    frames, padding = torch.randn(1, 10, 8), torch.arange(10)[None] >= 6
    louder = frames.clone()
    louder[:, 6:] = 1e6
    alone = module(frames[:, :6], padding[:, :6])
    for given in (frames, louder):
        torch.testing.assert_close(module(given, padding)[:, :6], alone)
