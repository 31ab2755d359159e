import torch

from audiossl.nn.frames import Frames
from audiossl.nn.pooling import masked_max, masked_mean, masked_mean_std


def _frames_and_louder_padding():
    frames, lengths = torch.randn(3, 10, 4), torch.tensor([10, 7, 1])
    louder = frames.clone()
    louder[1, 7:], louder[2, 1:] = float("inf"), 1e6
    return frames, louder, lengths


def test_padding_does_not_reach_any_statistic():
    frames, louder, lengths = _frames_and_louder_padding()
    for pool in (masked_mean, masked_max):
        torch.testing.assert_close(pool(frames, lengths), pool(louder, lengths))
    torch.testing.assert_close(
        masked_mean(frames, lengths)[1], frames[1, :7].mean(0), msg="mean over valid frames only"
    )
    deviations = masked_mean_std(frames, lengths)[:, 4:]
    torch.testing.assert_close(deviations[0], frames[0].std(0, correction=0))
    torch.testing.assert_close(deviations[2], torch.zeros(4))


def test_a_sequence_without_frames_gives_zeros():
    frames, lengths = torch.randn(1, 5, 2), torch.tensor([0])
    assert masked_mean(frames, lengths).abs().sum() == 0
    assert masked_max(frames, lengths).abs().sum() == 0


def test_an_encoders_own_clip_vector_comes_before_the_mean():
    vectors, lengths = torch.randn(2, 4, 3), torch.tensor([4, 2])
    assert torch.equal(Frames(vectors, lengths, 50.0).clip, masked_mean(vectors, lengths))
    own = torch.randn(2, 7)
    assert torch.equal(Frames(vectors, lengths, 50.0, pooled=own).clip, own)
