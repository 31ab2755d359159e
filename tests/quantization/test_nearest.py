import copy

import pytest
import torch

from audiossl.quantization.direct_sum import DirectSumQuantizer
from audiossl.quantization.ema_codebook import EmaCodebook
from audiossl.quantization.kmeans import KMeansQuantizer
from audiossl.quantization.nearest import nearest_entries
from audiossl.quantization.residual import ResidualQuantizer
from audiossl.quantization.shared_codebook import frame_log_probabilities

DIM, SIZE = 768, 64


def offset(kind):
    """The mean of frames of large speech models: one dimension far out, or all of them."""
    mean = torch.zeros(DIM)
    mean[7 if kind == "one dimension" else slice(None)] = 15_000 if kind == "one dimension" else 1e3
    return mean


def exact(frames, entries):
    return torch.cdist(
        frames.double(), entries.double(), compute_mode="donot_use_mm_for_euclid_dist"
    ).argmin(1)


def frames_and_entries(kind):
    generator = torch.Generator().manual_seed(0)
    entries = torch.randn(SIZE, DIM, generator=generator) + offset(kind)
    frames = torch.randn(1000, DIM, generator=generator) + offset(kind)
    return frames, entries


@pytest.fixture(params=["one dimension", "all dimensions"])
def far(request):
    return request.param


def test_nearest_entries_far_from_zero_are_those_of_exact_arithmetic(far):
    frames, entries = frames_and_entries(far)
    assert (nearest_entries(frames, entries) != exact(frames, entries)).float().mean() <= 0.001


def test_quantizers_that_search_choose_far_from_zero_as_exact_arithmetic_does(far):
    frames, entries = frames_and_entries(far)
    books = torch.stack([entries, 0.5 * (entries - offset(far)).flip(0)])
    learnt = EmaCodebook(DIM, SIZE)
    learnt.set_entries(entries)
    summed = DirectSumQuantizer(DIM, 4, 16).eval()
    with torch.no_grad():
        summed.centers.copy_((entries - offset(far)).view(4, 16, DIM) + offset(far) / 4)
    for quantizer in (
        KMeansQuantizer.from_entries(entries),
        ResidualQuantizer.from_entries(books),
        learnt,
        summed,
    ):
        precise = copy.deepcopy(quantizer).double()
        wrong = (quantizer.encode(frames) != precise.encode(frames.double())).float().mean()
        assert wrong <= 0.001, (quantizer.kind, wrong)


def test_distances_as_probabilities_do_not_depend_on_where_zero_is(far):
    frames, entries = frames_and_entries(far)
    expected = frame_log_probabilities(frames.double(), entries.double())
    assert (frame_log_probabilities(frames, entries) - expected).abs().max() < 1e-3
