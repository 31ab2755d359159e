"""The property of every teacher: what a batch is padded with never reaches a valid frame."""

import torch

from audiossl.models.encoder import Encoder


def check_padding_does_not_matter(
    teacher, seconds=(0.9, 0.53, 1.31), tolerance=2e-5, most_lost=2.1
):
    assert isinstance(teacher, Encoder)
    generator = torch.Generator().manual_seed(6)
    lengths = torch.tensor([int(s * teacher.sample_rate) for s in seconds])
    longest = int(lengths.max()) + teacher.sample_rate // 3
    waveforms = 0.1 * torch.randn(len(seconds), longest, generator=generator)
    for row, length in enumerate(lengths):
        waveforms[row, length:] = torch.tensor([float("nan"), 1e4, -1.0])[row % 3]
    batch = teacher(waveforms, lengths)
    assert batch.vectors.shape[2] == teacher.dim
    assert batch.frame_rate == teacher.frame_rate
    for row, length in enumerate(lengths):
        alone = teacher(waveforms[row : row + 1, :length], lengths[row : row + 1])
        valid = int(batch.lengths[row])
        assert valid == int(alone.lengths[0])
        expected_frames = float(length) / teacher.sample_rate * teacher.frame_rate
        assert expected_frames - most_lost <= valid <= expected_frames + 1, (valid, expected_frames)
        scale = float(alone.vectors[0, :valid].abs().max())
        for one, other in zip(
            (batch.vectors, *batch.layers), (alone.vectors, *alone.layers), strict=True
        ):
            torch.testing.assert_close(
                one[row, :valid], other[0, :valid], atol=tolerance * scale, rtol=1e-4
            )
        if alone.pooled is not None:
            torch.testing.assert_close(batch.pooled[row], alone.pooled[0], atol=1e-5, rtol=1e-4)
    return batch


def check_short_rows_have_no_frames(teacher, too_short):
    lengths = torch.tensor([too_short, teacher.sample_rate, 0])
    waveforms = 0.1 * torch.randn(3, teacher.sample_rate)
    frames = teacher(waveforms, lengths)
    assert frames.lengths[0] == frames.lengths[2] == 0
    alone = teacher(waveforms[1:2], lengths[1:2])
    valid = int(alone.lengths[0])
    scale = float(alone.vectors.abs().max())
    torch.testing.assert_close(
        frames.vectors[1, :valid], alone.vectors[0, :valid], atol=2e-5 * scale, rtol=1e-4
    )
    only = teacher(waveforms[:1, :too_short], lengths[:1])
    assert only.lengths.tolist() == [0]
    assert teacher.training is teacher.train().training is False
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
