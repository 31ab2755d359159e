from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from audiossl.optim.scaled_adam import ScaledAdam
from tests.oracles.scaled_adam import NaiveScaledAdam

GOLDEN = Path(__file__).parents[1] / "golden" / "scaled_adam.safetensors"
SHAPES = [(6, 4), (6, 4), (7,), (), (1,), (3, 2, 2)]


def steps(optimizer, parameters, gradients):
    for step in gradients:
        for parameter, gradient in zip(parameters, step, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()


def drawn(num_steps, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.rand(num_steps, generator=generator).mul(3).exp()
    return [[size * torch.randn(s, generator=generator) for s in SHAPES] for size in sizes]


def fresh(seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def test_the_trajectory_is_the_authors():
    golden = load_file(GOLDEN)
    count = sum(name.startswith("init") for name in golden)
    parameters = [nn.Parameter(golden[f"init.{i}"].clone()) for i in range(count)]
    optimizer = ScaledAdam(parameters, lr=0.045, clipping_scale=2.0)
    for step in range(len(golden["grad.0"])):
        for index, parameter in enumerate(parameters):
            parameter.grad = golden[f"grad.{index}"][step].clone()
        optimizer.step()
        for index, parameter in enumerate(parameters):
            expected = golden[f"param.{index}"][step]
            torch.testing.assert_close(parameter.detach(), expected, rtol=1e-4, atol=1e-6)


def test_with_clipping_it_is_that_of_the_formulas():
    gradients = drawn(320)
    parameters = fresh()
    naive = NaiveScaledAdam([p.detach().clone() for p in parameters], lr=0.02)
    optimizer = ScaledAdam(parameters, lr=0.02)
    for step in gradients:
        steps(optimizer, parameters, [step])
        naive.step(step)
    assert naive.threshold < max(naive.norms)
    for parameter, expected in zip(parameters, naive.parameters, strict=True):
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-4, atol=1e-5)


def test_a_resumed_run_equals_an_uninterrupted_one():
    gradients = drawn(230)
    whole = fresh()
    steps(ScaledAdam(whole, lr=0.02), whole, gradients)
    parts = fresh()
    first = ScaledAdam(parts, lr=0.02)
    steps(first, parts, gradients[:151])
    state = first.state_dict()
    second = ScaledAdam(parts, lr=0.02)
    second.load_state_dict(state)
    steps(second, parts, gradients[151:])
    for one, other in zip(whole, parts, strict=True):
        assert torch.equal(one, other)


def test_a_step_without_finite_gradients_leaves_no_trace_in_weights_but_momentum():
    parameters = fresh()
    optimizer = ScaledAdam(parameters, lr=0.02)
    gradients = drawn(105)
    steps(optimizer, parameters, gradients)
    gradients[0][0][1, 1] = float("nan")
    steps(optimizer, parameters, gradients[:1])
    assert all(p.isfinite().all() for p in parameters)
    steps(optimizer, parameters, gradients[1:])
    assert all(p.isfinite().all() for p in parameters)


def test_updates_do_not_depend_on_the_scale_of_gradients():
    ends = []
    for scale in (1.0, 1000.0):
        parameters = fresh()
        gradients = [[scale * gradient for gradient in step] for step in drawn(120)]
        steps(ScaledAdam(parameters, lr=0.02), parameters, gradients)
        ends.append(parameters)
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_tensors_keep_to_the_greatest_size():
    parameter = nn.Parameter(torch.ones(4, 4))
    optimizer = ScaledAdam([parameter], lr=0.045)
    for _ in range(400):
        parameter.grad = -parameter.detach().clone()
        optimizer.step()
    assert float(parameter.detach().square().mean().sqrt()) < 4.0


def test_a_parameter_without_gradient_stays():
    parameters = fresh()
    optimizer = ScaledAdam(parameters, lr=0.02)
    before = parameters[0].detach().clone()
    for _ in range(5):
        for parameter in parameters[1:]:
            parameter.grad = torch.randn(parameter.shape)
        optimizer.step()
    assert torch.equal(parameters[0], before)


def test_senseless_decays_are_refused():
    with pytest.raises(ValueError, match="betas"):
        ScaledAdam(fresh(), betas=(0.9, 1.0))


@pytest.mark.parametrize("empty", [40, 60, 101])
def test_steps_without_gradients_do_not_count_in_the_median(empty):
    torch.manual_seed(0)
    parameter = torch.nn.Parameter(torch.randn(5, 4))
    optimizer = ScaledAdam([parameter], lr=0.01)
    for step in range(202):
        # Batches in which nothing counted come first.
        parameter.grad = torch.zeros(5, 4) if step < empty else torch.randn(5, 4)
        before = parameter.detach().clone()
        optimizer.step()
        if step > empty:
            assert not torch.equal(parameter, before)
    # About twice the norms: none of the later gradients is scaled down by much.
    threshold = float(optimizer.param_groups[0]["threshold"])
    recent = optimizer.param_groups[0]["norms"]
    assert threshold == pytest.approx(2 * float(recent[recent > 0].median()), rel=0.2)
