import pytest
import torch
from torch import nn

from audiossl.errors import UserError
from audiossl.nn.frames import Frames
from audiossl.pretrained.ensemble import Ensemble
from audiossl.teachers.aisfx import AisfxTeacher
from audiossl.teachers.spectral import LogMelTeacher, MfccTeacher
from audiossl.teachers.teacher import zero_padding
from tests.teachers.padding import check_padding_does_not_matter


class _Slow(nn.Module):
    """25 frames a second, each the mean of its samples."""

    sample_rate, frame_rate, dim = 16000, 25.0, 1

    def forward(self, waveforms, lengths):
        waveforms = zero_padding(waveforms, lengths)
        whole = waveforms[:, : waveforms.shape[1] // 640 * 640]
        return Frames(whole.view(len(whole), -1, 640).mean(2, keepdim=True), lengths // 640, 25.0)


def test_padding_does_not_matter_across_sample_and_frame_rates():
    both = Ensemble([AisfxTeacher(width=8), LogMelTeacher()])
    assert (both.sample_rate, both.frame_rate, both.dim) == (44100, 50.0, 144)
    batch = check_padding_does_not_matter(
        both, seconds=(1.9, 0.81, 1.42), tolerance=1e-4, most_lost=10
    )
    assert [layer.shape[2] for layer in batch.layers] == [64, 80]
    assert "aisfx" in both.convention
    assert "at 50 Hz" in both.convention


def test_vectors_stand_side_by_side_as_each_teacher_gives_them():
    waveforms, lengths = torch.randn(2, 9000), torch.tensor([9000, 5000])
    frames = Ensemble([MfccTeacher(), LogMelTeacher()])(waveforms, lengths)
    mfcc, log_mel = MfccTeacher()(waveforms, lengths), LogMelTeacher()(waveforms, lengths)
    assert torch.equal(frames.lengths, log_mel.lengths)
    expected = torch.cat([mfcc.vectors, log_mel.vectors], dim=2)
    for row, length in enumerate(frames.lengths):
        assert torch.equal(frames.vectors[row, :length], expected[row, :length])


def test_a_slow_teachers_frame_stands_for_all_its_time():
    waveforms, lengths = torch.randn(1, 16000), torch.tensor([16000])
    frames = Ensemble([_Slow(), LogMelTeacher()])(waveforms, lengths)
    slow = _Slow()(waveforms, lengths).vectors
    assert frames.lengths.tolist() == [49]  # no more than every teacher has
    assert torch.equal(frames.layers[0], slow.repeat_interleave(2, dim=1)[:, :49])
    halved = Ensemble([_Slow(), LogMelTeacher()], frame_rate=25.0)(waveforms, lengths)
    assert halved.lengths.tolist() == [24]
    assert torch.equal(halved.layers[0], slow[:, :24])


def test_a_slow_teachers_last_frame_stands_for_what_is_left_in_every_row():
    waveforms, lengths = torch.randn(2, 16600), torch.tensor([16600, 9700])
    frames = Ensemble([_Slow(), LogMelTeacher()])(waveforms, lengths)
    assert torch.equal(frames.lengths, LogMelTeacher()(waveforms, lengths).lengths)
    for row, length in enumerate(lengths.tolist()):
        slow = _Slow()(waveforms[row : row + 1, :length], lengths[row : row + 1]).vectors[0]
        found = frames.layers[0][row, : frames.lengths[row]]
        torch.testing.assert_close(
            found[: 2 * len(slow)], slow.repeat_interleave(2, dim=0)[: len(found)]
        )
        assert (found[2 * len(slow) :] == found[-1]).all()
    assert Ensemble([_Slow(), LogMelTeacher()])(
        waveforms[:, :500], torch.tensor([500, 500])
    ).lengths.tolist() == [0, 0]


def test_nobody_is_no_ensemble():
    with pytest.raises(UserError, match="at least one encoder"):
        Ensemble([])
