import torch
from torch.autograd import gradcheck

from audiossl.models.zipformer.convolution import ConvolutionModule, gated


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
