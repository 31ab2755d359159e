import pytest
import torch
from torch.autograd import gradcheck

from audiossl.models.zipformer.kernels import blocks
from audiossl.models.zipformer.swoosh import (
    SWOOSH_L,
    SWOOSH_R,
    activate,
    activated_linear,
)


def swoosh_l(x):
    return activate(x - SWOOSH_L.shift, SWOOSH_L)


POINTS = torch.tensor([-10.0, -2.0, -1.0, 0.0, 1.0, 2.0, 5.0, 10.0])


def test_values_are_those_of_the_public_implementation():
    expected = [0.486755, -0.104674, -0.106334, 0.0, 0.299886, 0.84, 3.304888, 7.886861]
    torch.testing.assert_close(
        activate(POINTS - SWOOSH_R.shift, SWOOSH_R), torch.tensor(expected), atol=2e-6, rtol=0
    )
    expected = [0.765001, 0.127476, 0.051715, -0.016850, -0.066413, -0.068072, 0.878262, 5.167476]
    torch.testing.assert_close(swoosh_l(POINTS), torch.tensor(expected), atol=2e-6, rtol=0)


def test_gradients_are_those_of_the_formula():
    x = torch.linspace(-6, 15, 40, dtype=torch.float64, requires_grad=True)
    for swoosh in (SWOOSH_L, SWOOSH_R):
        assert gradcheck(lambda y, s=swoosh: activate(y, s), (x,))


def test_large_inputs_stay_finite_and_have_the_slope_of_the_asymptote():
    x = torch.tensor([-1e4, 1e4], requires_grad=True)
    y = swoosh_l(x)
    y.sum().backward()
    assert y.isfinite().all()
    torch.testing.assert_close(x.grad, torch.tensor([-0.08, 0.92]))


@pytest.mark.parametrize("largest", [60, 120], ids=["all moderate", "some large"])
def test_fp32_is_as_exact_as_its_format(largest):
    x = torch.linspace(-120, largest, 4001)
    exact = swoosh_l(x.double())
    torch.testing.assert_close(swoosh_l(x).double(), exact, atol=3e-7, rtol=3e-7)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_traced_graph_gets_the_form_that_holds_for_all_values():
    seen = []

    def asked(x):
        seen.append(blocks.runs_on_caches(x))
        return x + 1

    torch.jit.trace(asked, (torch.randn(2, 3),), check_trace=False)
    assert seen == [False]
    assert blocks.runs_on_caches(torch.randn(2, 3))


@pytest.mark.parametrize("block", [2**19, 40, 15], ids=["whole", "sequences", "frames"])
def test_a_linear_map_of_the_activation_is_what_two_modules_compute(block, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", block)
    x = torch.randn(2, 5, 7, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 7, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, requires_grad=True)
    mask = (torch.rand(2, 1, 7, dtype=torch.float64) > 0.3) / 0.7
    for dropout in (None, mask):
        active = swoosh_l(x) if dropout is None else swoosh_l(x) * dropout
        expected = active @ weight.T + bias
        found = activated_linear(x - SWOOSH_L.shift, weight, bias, SWOOSH_L, dropout)
        torch.testing.assert_close(found, expected)
        seed = torch.randn_like(expected)
        for one, other in zip(
            torch.autograd.grad(found, (x, weight, bias), seed),
            torch.autograd.grad(expected, (x, weight, bias), seed),
            strict=True,
        ):
            torch.testing.assert_close(one, other)
