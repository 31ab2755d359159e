import pytest
import torch

from audiossl.nn.sequence_heads import HeadConfig, LayerSum, SequenceHead


@pytest.mark.parametrize("recurrent", [0, 2])
@pytest.mark.parametrize("pool", [False, True])
def test_padding_and_neighbors_change_nothing(recurrent, pool):
    torch.manual_seed(0)
    head = SequenceHead(5, HeadConfig(projection=4, recurrent_layers=recurrent, width=3), 2)
    frames, lengths = torch.randn(3, 9, 5), torch.tensor([9, 4, 0])
    found = head(frames, lengths, pool=pool)
    spoilt = frames.clone()
    spoilt[1, 4:] = 1e6
    changed = head(spoilt, lengths, pool=pool)
    alone = head(frames[1:2, :4], lengths[1:2], pool=pool)
    if pool:
        torch.testing.assert_close(changed, found)
        torch.testing.assert_close(alone[0], found[1])
    else:
        torch.testing.assert_close(changed[1, :4], found[1, :4])
        torch.testing.assert_close(alone[0], found[1, :4])


def test_a_sum_of_layers_begins_as_their_mean_and_learns_shares():
    layers = torch.randn(2, 4, 3, 5)
    layer_sum = LayerSum(4)
    torch.testing.assert_close(layer_sum(layers), layers.mean(dim=1))
    layer_sum.logits.data = torch.tensor([0.0, 99.0, 0.0, 0.0])
    torch.testing.assert_close(layer_sum(layers), layers[:, 1])


def test_dropout_stands_between_recurrent_layers_alone():
    torch.manual_seed(0)
    head = SequenceHead(5, HeadConfig(projection=0, recurrent_layers=1, dropout=0.9), 2)
    frames, lengths = torch.randn(2, 6, 5), torch.tensor([6, 6])
    one = head(frames, lengths, torch.Generator().manual_seed(0))
    torch.testing.assert_close(one, head(frames, lengths))
