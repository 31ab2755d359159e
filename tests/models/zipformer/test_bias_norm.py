import pytest
import torch
from torch.autograd import gradcheck

from audiossl.models.zipformer.bias_norm import BiasNorm, bias_norm


def test_values_are_those_of_the_public_implementation():
    x, bias = torch.tensor([1.0, 2.0, -1.0, 0.5]), torch.tensor([0.1, -0.2, 0.3, 0.0])
    expected = torch.tensor([1.196896, 2.393791, -1.196896, 0.598448])
    torch.testing.assert_close(bias_norm(x, bias, torch.tensor(0.5)), expected, atol=2e-6, rtol=0)


def test_gradients_are_those_of_the_formula():
    x = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(5, dtype=torch.float64, requires_grad=True)
    log_scale = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(bias_norm, (x, bias, log_scale))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_size_of_the_input_does_not_matter_without_a_bias(scale):
    norm = BiasNorm(16)
    torch.nn.init.zeros_(norm.bias)
    x = torch.randn(4, 16)
    torch.testing.assert_close(norm(scale * x), norm(x))
    torch.testing.assert_close(norm(x).square().mean(dim=1).sqrt(), norm.log_scale.exp().expand(4))
