import librosa
import numpy as np
import pytest
import torch
import torchaudio.functional as audio

from audiossl.teachers.mel import MelDialect, MelSpectrogram

FILTERS = audio.melscale_fbanks(201, 0.0, 8000.0, 40, 16000, norm="slaney", mel_scale="slaney")


def made(edges, hop_length=160):
    dialect = MelDialect(sample_rate=16000, window=400, hop_length=hop_length, edges=edges)
    return MelSpectrogram(dialect, FILTERS)


@pytest.mark.parametrize(
    ("edges", "center", "pad_mode"),
    [("whole", False, "reflect"), ("zeros", True, "constant"), ("mirror", True, "reflect")],
)
def test_each_dialect_is_librosas_of_that_name(edges, center, pad_mode):
    waveform = torch.randn(1, 7001)
    expected = librosa.feature.melspectrogram(
        y=waveform[0].numpy(),
        sr=16000,
        n_fft=400,
        hop_length=160,
        n_mels=40,
        center=center,
        pad_mode=pad_mode,
    )
    power, num_frames = made(edges)(waveform, torch.tensor([7001]))
    assert num_frames.tolist() == [expected.shape[1]]
    np.testing.assert_allclose(power[0], expected.T, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("edges", ["whole", "zeros", "mirror"])
def test_what_lies_behind_the_end_does_not_matter(edges):
    lengths = torch.tensor([7001, 3000, 401, 150, 0])
    waveforms = torch.randn(5, 9000)
    louder = waveforms.clone()
    for row, length in enumerate(lengths):
        louder[row, length:] = float("nan")
    power, num_frames = made(edges)(louder, lengths)
    for row, length in enumerate(lengths[:3]):
        alone, own = made(edges)(waveforms[row : row + 1, :length], lengths[row : row + 1])
        assert own[0] == num_frames[row] == alone.shape[1]
        torch.testing.assert_close(power[row, : own[0]], alone[0])
    assert num_frames[4] == 0
    assert (num_frames[3] == 0) == (edges != "zeros")
