import torch

from audiossl.features.log_mel import LogMel, LogMelConfig
from audiossl.models.log_mel_statistics import LogMelStatistics


def test_clip_vectors_are_mean_and_deviation_of_the_frames():
    waveforms = torch.randn(2, 8000) / 10
    waveforms[1, 5000:] = 0.0
    frames = LogMelStatistics()(waveforms, torch.tensor([8000, 5000]))
    for row, length in enumerate((8000, 5000)):
        bands = LogMel(LogMelConfig())(waveforms[row : row + 1, :length])[0]
        deviation = bands.std(dim=0, correction=0)
        torch.testing.assert_close(frames.clip[row], torch.cat([bands.mean(dim=0), deviation]))


def test_less_than_a_window_gives_one_frame():
    frames = LogMelStatistics()(torch.ones(1, 100) / 10, torch.tensor([100]))
    assert frames.lengths.tolist() == [1]
    assert torch.isfinite(frames.clip).all()
