import numpy as np
import pytest
import torch
from scipy.fft import dct

from audiossl.errors import UserError
from audiossl.teachers.spectral import LogMelTeacher, MfccTeacher, load_log_mel, load_mfcc
from tests.teachers.padding import check_padding_does_not_matter, check_short_rows_have_no_frames


@pytest.mark.parametrize("make", [LogMelTeacher, MfccTeacher])
def test_padding_does_not_matter(make):
    check_padding_does_not_matter(make())
    check_short_rows_have_no_frames(make(), too_short=399)


@pytest.mark.parametrize("make", [LogMelTeacher, MfccTeacher])
@pytest.mark.parametrize("num_samples", [400, 719, 720, 5000, 16000])
def test_frames_lie_on_the_grid_of_wav2vec(make, num_samples):
    frames = make()(torch.randn(1, num_samples), torch.tensor([num_samples]))
    expected = num_samples
    for kernel, stride in [(10, 5)] + [(3, 2)] * 4 + [(2, 2)] * 2:
        expected = (expected - kernel) // stride + 1
    assert frames.lengths.tolist() == [expected]
    assert frames.vectors.shape[1] == expected


def test_a_tone_is_heard_in_its_band():
    seconds = torch.arange(16000) / 16000
    tones = torch.stack([torch.sin(2 * torch.pi * hertz * seconds) for hertz in (300, 3000)])
    vectors = LogMelTeacher()(tones, torch.tensor([16000, 16000])).vectors
    low, high = vectors.mean(dim=1).argmax(dim=1).tolist()
    assert 5 < low < 25
    assert 45 < high < 65


def test_cepstra_and_slopes_are_what_they_are_said_to_be():
    teacher = MfccTeacher()
    waveform = torch.randn(1, 8000) * torch.linspace(0.01, 1, 8000)
    power, _ = teacher.mel(waveform, torch.tensor([8000]))
    cepstra = dct(np.log(power[0].numpy() + 1e-6), norm="ortho")[:, :13]
    padded = np.pad(cepstra, ((2, 2), (0, 0)), mode="edge")
    slopes = (padded[3:-1] - padded[1:-3] + 2 * (padded[4:] - padded[:-4])) / 10
    vectors = teacher(waveform, torch.tensor([8000])).vectors[0]
    np.testing.assert_allclose(vectors[:, :13], cepstra[::2], atol=1e-3)
    np.testing.assert_allclose(vectors[:, 13:26], slopes[::2], atol=1e-3)


def test_settings_behind_the_colon():
    assert load_log_mel("64").dim == 64
    with pytest.raises(UserError, match="log_mel:many: not a number of mel bands"):
        load_log_mel("many")
    for place in ("0", "-1", "1000000"):
        with pytest.raises(UserError, match="not a number of mel bands from 1 to"):
            load_log_mel(place)
    with pytest.raises(UserError, match="mfcc:13: takes nothing"):
        load_mfcc("13")
