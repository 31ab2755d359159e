import torch
from torch.autograd import gradcheck

from audiossl.models.zipformer.bypass import Bypass, mix


def test_gradients_are_those_of_the_formula():
    original, changed = torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    for shape in ((4,), (2, 1, 4)):
        scale = torch.rand(*shape, dtype=torch.float64, requires_grad=True)
        expected = original + (changed - original) * scale
        torch.testing.assert_close(mix(original, changed, scale), expected)
        assert gradcheck(mix, (original, changed, scale))


def test_a_sequence_that_goes_past_comes_out_as_it_went_in():
    original, changed = torch.randn(2, 3, 5, 4)
    keep = torch.tensor([1.0, 0.0, 1.0])[:, None, None]
    mixed = Bypass(4)(original, changed, keep=keep)
    assert torch.equal(mixed[1], original[1])
    torch.testing.assert_close(mixed[0], (original[0] + changed[0]) / 2)
