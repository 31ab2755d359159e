import pytest
import torch

from audiossl.probing.rated_adam import RatedAdam


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_every_head_goes_where_adam_with_its_rate_goes(decay):
    rates = (1e-3, 1e-1, 1e-7)
    beginnings, gradients = torch.randn(3, 4, 5), torch.randn(6, 3, 4, 5)
    adam = RatedAdam([beginnings], torch.tensor(rates), decay)
    alone = [one.clone().requires_grad_() for one in beginnings]
    others = [
        torch.optim.Adam([weight], lr=rate, weight_decay=decay)
        for weight, rate in zip(alone, rates, strict=True)
    ]
    for step, gradient in enumerate(gradients):
        if step == 3:  # the second head goes on at half of its rate
            adam.scale(torch.tensor([1.0, 0.5, 1.0]))
        strided = gradient.mT.contiguous().mT  # as products give it
        adam.step([strided], 1.0 if step < 5 else 0.3)
        for head, (weight, other) in enumerate(zip(alone, others, strict=True)):
            weight.grad = gradient[head].clone()
            slowed = 0.5 if head == 1 and step >= 3 else 1.0
            other.param_groups[0]["lr"] = rates[head] * slowed * (1.0 if step < 5 else 0.3)
            other.step()
    torch.testing.assert_close(adam.weights()[0], torch.stack(alone), rtol=1e-5, atol=1e-6)
