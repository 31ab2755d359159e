"""Attention that is even gives mean and deviation; padding reaches neither values nor gradients."""

import torch

from audiossl.nn.attentive_statistics import AttentiveStatistics
from audiossl.nn.pooling import masked_mean_std


def _pool_and_frames():
    torch.manual_seed(0)
    return AttentiveStatistics(4, hidden_dim=3), torch.randn(3, 10, 4), torch.tensor([10, 7, 1])


def test_even_attention_gives_mean_and_deviation():
    pool, frames, lengths = _pool_and_frames()
    torch.nn.init.zeros_(pool.scores[2].weight)
    expected = masked_mean_std(frames, lengths)
    torch.testing.assert_close(pool(frames, lengths), expected, atol=1.1e-3, rtol=1e-5)
    torch.testing.assert_close(pool(frames, lengths)[:2], expected[:2], atol=1e-5, rtol=1e-5)


def test_a_frame_with_all_the_attention_is_the_mean():
    pool, frames, _ = _pool_and_frames()
    with torch.no_grad():
        pool.scores[0].weight.copy_(torch.tensor([[50.0, 0, 0, 0]] * 3))
        pool.scores[0].bias.fill_(-50 * float(frames[0, :, 0].sort().values[-2:].mean()))
        pool.scores[2].weight.fill_(50.0)
    largest = frames[0, frames[0, :, 0].argmax()]
    torch.testing.assert_close(pool(frames, torch.tensor([10, 10, 10]))[0, :4], largest)


def test_padding_reaches_neither_values_nor_gradients():
    pool, frames, lengths = _pool_and_frames()
    louder = frames.clone()
    louder[1, 7:], louder[2, 1:] = float("inf"), 1e6
    torch.testing.assert_close(pool(louder, lengths), pool(frames, lengths), rtol=0, atol=0)
    frames.requires_grad_()
    pool(frames, torch.tensor([10, 7, 0])).square().sum().backward()
    assert frames.grad.isfinite().all()
    assert frames.grad[1, 7:].abs().sum() == frames.grad[2].abs().sum() == 0
    assert frames.grad[1, :7].abs().sum() > 0
