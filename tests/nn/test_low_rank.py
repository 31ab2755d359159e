import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import WavLMConfig, WavLMModel

from audiossl.errors import UserError
from audiossl.nn.low_rank import add_low_rank, merge_low_rank
from tests.teachers.tiny import SIZES


def _network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4))


def test_the_change_is_a_product_of_low_rank_and_none_at_first():
    network, x = _network(), torch.randn(3, 6)
    before, weight = network(x), network[0].weight.detach().clone()
    assert add_low_rank(network, rank=2, alpha=6.0) == ["0", "2"]
    torch.testing.assert_close(network(x), before, rtol=0, atol=0)
    change = network[0].parametrizations.weight[0]
    nn.init.normal_(change.up)
    expected = weight + 3.0 * change.up @ change.down
    torch.testing.assert_close(network[0](x), F.linear(x, expected, network[0].bias))
    assert torch.linalg.matrix_rank(network[0].weight - weight) == 2


def test_merged_weights_compute_the_same_under_their_old_names():
    network, names = _network(), set(_network().state_dict())
    add_low_rank(network, rank=1, alpha=1.0, layers=["0"])
    nn.init.normal_(network[0].parametrizations.weight[0].up)
    x = torch.randn(3, 6)
    before = network(x)
    merge_low_rank(network)
    assert set(network.state_dict()) == names
    torch.testing.assert_close(network(x), before)


def test_attentions_that_hand_on_their_weights_learn_too():
    """WavLM's does in transformers: a module around its projections would be left out."""
    network = WavLMModel(WavLMConfig(**SIZES)).eval()
    add_low_rank(network, rank=2, alpha=2.0, layers=["q_proj"])
    network(torch.randn(1, 4000)).last_hidden_state.square().sum().backward()
    changes = [p.grad for n, p in network.named_parameters() if n.endswith(".up")]
    assert len(changes) == 3
    assert all(bool(gradient.any()) for gradient in changes)


def test_names_of_no_layer_are_refused():
    with pytest.raises(UserError, match="no linear layer is named '1'"):
        add_low_rank(_network(), rank=1, alpha=1.0, layers=["1"])
