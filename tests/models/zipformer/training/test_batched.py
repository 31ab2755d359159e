import pytest
import torch

from audiossl.models.zipformer.training import regularizers
from audiossl.models.zipformer.training.regularizers import (
    Balance,
    Whitening,
    gradient_regularizers,
)
from audiossl.models.zipformer.training.schedules import Progress


def gradients(x, seeds, repeated=False):
    """Of regularizers of several widths; some leave the gradient as it is."""
    push = gradient_regularizers(Progress(0, 0.0), torch.device("cpu"))
    inputs = [value.clone().requires_grad_() for value in x]
    outputs = []
    for _ in range(2 if repeated else 1):
        # As activations that are computed twice do, the first time for nothing.
        outputs = [
            push.whiten(push.balance(inputs[0], Balance.LAYER_OUTPUT), Whitening.LAYER_OUTPUT),
            push.whiten(
                push.balance(inputs[1], Balance.KEYS, slice(4, 12)), Whitening.KEYS,
                slice(4, 12), groups=2,
            ),
            push.balance(inputs[2], Balance.FEED_FORWARD_HIDDEN, plus=4.0),
            push.whiten(inputs[3], Whitening.FEED_FORWARD),
        ]  # fmt: skip
    return torch.autograd.grad(outputs, inputs, seeds)


@pytest.mark.parametrize("repeated", [False, True])
def test_in_one_batch_gradients_are_those_of_each_alone(monkeypatch, repeated):
    torch.manual_seed(0)
    correlated = torch.randn(3, 40, 1) * torch.ones(8) + 0.1 * torch.randn(3, 40, 8)
    constant = torch.randn(3, 40, 16)
    constant[..., 5] = 0.7
    x = [3.0 * correlated + 2.0, constant, 6.0 * torch.randn(3, 40, 12), torch.randn(3, 40, 8)]
    seeds = [torch.randn_like(value) for value in x]
    alone = gradients(x, seeds)
    monkeypatch.setattr(regularizers, "pays", lambda _: True)
    together = gradients(x, seeds, repeated)
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert not torch.equal(alone[0], seeds[0])
    assert not torch.equal(alone[1], seeds[1])
    torch.testing.assert_close(together[3], seeds[3])
