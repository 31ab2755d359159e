"""Normalized bands equal librosa's and NumPy's, whatever lies behind the end of a clip."""

import librosa
import numpy as np
import pytest
import torch

from audiossl.features.normalization import normalized, pcen


def _image():
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(3, 40, 5, generator=generator)
    image[2, :, 0] = -11.5  # silent
    return image, torch.tensor([40, 25, 30])


def test_pcen_is_librosas_begun_at_the_first_frame():
    magnitudes = _image()[0].exp()
    found = pcen(magnitudes).numpy()
    for row, energies in zip(found, magnitudes.numpy().astype(np.float64), strict=True):
        expected = librosa.pcen(
            energies.T, gain=0.98, bias=2.0, power=0.5, eps=1e-6, b=0.025,
            zi=(1 - 0.025) * energies.T[:, :1],
        )  # fmt: skip
        np.testing.assert_allclose(row, expected.T, rtol=2e-5, atol=2e-6)


def test_means_and_deviations_are_those_over_valid_frames():
    image, lengths = _image()
    centered, scaled = (normalized(image, lengths, kind) for kind in ("mean", "mean_std"))
    for row, count in enumerate(lengths.tolist()):
        valid = image[row, :count].double()
        wanted = valid - valid.mean(0)
        torch.testing.assert_close(centered[row, :count].double(), wanted, atol=2e-6, rtol=0)
        deviation = valid.std(0, correction=0).clamp(min=1e-3)
        torch.testing.assert_close(
            scaled[row, :count].double(), wanted / deviation, atol=2e-3, rtol=1e-4
        )


@pytest.mark.parametrize("kind", ["none", "mean", "mean_std", "pcen"])
def test_what_lies_behind_a_clip_does_not_reach_it(kind):
    image, lengths = _image()
    other = image.clone()
    other[1, 25:], other[2, 30:] = 7.0, -3.0
    for row, count in enumerate(lengths.tolist()):
        torch.testing.assert_close(
            normalized(image, lengths, kind)[row, :count],
            normalized(other, lengths, kind)[row, :count],
            rtol=0,
            atol=0,
        )


@pytest.mark.parametrize("kind", ["mean", "mean_std"])
def test_a_gain_is_taken_away(kind):
    image, lengths = _image()
    before, after = (
        normalized(each, lengths, kind)[:2, :25] for each in (image, image + np.log(10.0))
    )
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)
    assert float(before.std()) > 0.5


def test_of_a_gain_of_20_db_pcen_leaves_a_fiftieth():
    image, lengths = _image()
    before, after = (
        normalized(each, lengths, "pcen")[:2] for each in (image, image + np.log(10.0))
    )
    ratios = after / before
    assert float(ratios.min()) > 1.0
    assert float(ratios.max()) <= 10**0.02 + 1e-3
