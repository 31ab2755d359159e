import torch

from audiossl.models.zipformer.downsampling import Downsample, upsample


def test_equal_weights_average_neighbors_and_the_last_frame_fills_the_last_group():
    frames = torch.arange(5.0)[None, :, None]
    found = Downsample(2)(frames)
    assert found.flatten().tolist() == [0.5, 2.5, 4.0]


def test_weights_are_the_softmax_of_the_bias():
    module = Downsample(2)
    with torch.no_grad():
        module.bias.copy_(torch.tensor([0.0, 3.0]).exp().log())
    weight = float(torch.tensor(3.0).sigmoid())
    found = module(torch.tensor([0.0, 1.0])[None, :, None])
    torch.testing.assert_close(found.detach().flatten(), torch.tensor([weight]))


def test_a_sequence_that_ends_earlier_is_filled_with_its_own_last_frame():
    frames = torch.randn(2, 9, 3)
    together = Downsample(4)(frames, torch.tensor([9, 5]))
    alone = Downsample(4)(frames[1:, :5])
    torch.testing.assert_close(together[1:, :2], alone)


def test_going_up_repeats_and_cuts():
    assert upsample(torch.tensor([1.0, 2.0])[None, :, None], 4, 6).flatten().tolist() == [
        1.0, 1.0, 1.0, 1.0, 2.0, 2.0,
    ]  # fmt: skip
