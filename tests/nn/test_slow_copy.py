import pytest
import torch
from torch import nn
from torch.testing import assert_close

from audiossl.nn.slow_copy import SlowCopy, momentum_at


def test_after_many_steps_it_is_the_moving_average():
    network = nn.Linear(3, 2)
    slow = SlowCopy(network)
    expected = network.weight.detach().clone()
    for _ in range(5):
        nn.init.normal_(network.weight)
        slow.follow(network, 0.8)
        expected = 0.8 * expected + 0.2 * network.weight.detach()
    assert_close(slow.network.weight, expected)


def test_it_stays_in_evaluation_mode_and_takes_buffers():
    network = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.9))
    slow = SlowCopy(network)
    holder = nn.ModuleList([network, slow]).train()
    assert holder[0].training
    assert not slow.network[1].training
    network(torch.randn(8, 2))
    slow.follow(network, 1.0)
    assert_close(slow.network[0].running_mean, network[0].running_mean)


@pytest.mark.parametrize(("step", "expected"), [(0, 0.996), (50, 0.998), (100, 1.0), (999, 1.0)])
def test_momentum_rises_along_a_cosine(step, expected):
    assert momentum_at(step, 0.996, 100) == pytest.approx(expected)
    assert momentum_at(step, 0.996, None) == 0.996
