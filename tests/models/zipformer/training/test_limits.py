import torch

from audiossl.models.zipformer.training.limits import ParameterLimit, limited


def test_what_is_out_of_bounds_is_not_driven_further_out():
    parameter = torch.tensor([-0.5, -0.5, 0.5, 0.5, 1.5, 1.5], requires_grad=True)
    gradient = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    for acts, expected in ((True, [-1.0, -1.0, 1.0, -1.0, 1.0, 1.0]), (False, gradient.tolist())):
        limit = ParameterLimit(torch.tensor(0.0), 1.0, torch.tensor(acts))
        value = limited(parameter, limit)
        assert torch.equal(value, parameter)
        (found,) = torch.autograd.grad(value, parameter, gradient)
        assert found.tolist() == expected


def test_descent_brings_a_parameter_back_against_its_gradient():
    parameter = torch.tensor([1.5], requires_grad=True)
    limit = ParameterLimit(torch.tensor(0.2), 1.0, torch.tensor(True))
    optimizer = torch.optim.SGD([parameter], lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        (-limited(parameter, limit)).sum().backward()
        optimizer.step()
    assert 0.95 <= float(parameter.detach()) <= 1.05
