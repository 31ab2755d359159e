import pytest
import torch

import audiossl
from audiossl.errors import UserError


def test_shuffling_keeps_values_and_loses_their_order(experiment):
    trained = audiossl.load_encoder(experiment.cola_0)
    shuffled = audiossl.load_encoder(f"shuffled:{experiment.cola_0}#1")
    differs = False
    for name, tensor in trained.state_dict().items():
        other = shuffled.state_dict()[name]
        torch.testing.assert_close(other.flatten().sort()[0], tensor.flatten().sort()[0])
        differs |= not torch.equal(other, tensor)
    assert differs
    again = audiossl.load_encoder(f"shuffled:{experiment.cola_0}#1")
    for name, tensor in again.state_dict().items():
        torch.testing.assert_close(tensor, shuffled.state_dict()[name])


def test_random_encoders_differ_by_seed_alone(experiment):
    one, same, other = (
        audiossl.load_encoder(f"random:{experiment.cola_0}#{seed}").state_dict()
        for seed in (0, 0, 1)
    )
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_log_mel_statistics_take_nothing():
    with pytest.raises(UserError, match="takes nothing after the colon"):
        audiossl.load_encoder("log-mel:64")
