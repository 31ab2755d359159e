import pytest
import torch
from torch.testing import assert_close

from audiossl.models.projected import OVERLAPS, Projected, ProjectedConfig
from audiossl.models.properties import check_encoder


def made(view):
    torch.manual_seed(0)
    return Projected(ProjectedConfig(view=view, dim=16)).eval()


@pytest.mark.parametrize("view", list(OVERLAPS))
def test_padding_changes_nothing(view):
    encoder, waveforms = made(view), torch.randn(2, 9000)
    alone = encoder(waveforms[:1, :5003], torch.tensor([5003]))
    padded = encoder(waveforms, torch.tensor([5003, 9000]))
    count = int(alone.lengths)
    assert int(padded.lengths[0]) == count
    assert_close(padded.vectors[0, :count], alone.vectors[0, :count], rtol=1e-4, atol=1e-5)
    assert_close(padded.clip[0], alone.clip[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("view", list(OVERLAPS))
def test_it_is_an_encoder_like_the_others(view):
    failed = [finding for finding in check_encoder(made(view)) if finding.holds is False]
    assert not failed


@pytest.mark.parametrize("view", list(OVERLAPS))
@pytest.mark.parametrize("samples", [0, 1, 160, 161, 1600])
def test_lengths_are_those_of_the_transforms(view, samples):
    encoder = made(view)
    features, lengths = encoder.features(torch.randn(1, 1600), torch.tensor([samples]))
    assert int(lengths) == (-(-samples // 160) + OVERLAPS[view] - 1 if samples else 0)
    assert not features[0, int(lengths) :].any()
    assert features.shape[2] == encoder.num_bins
