"""Contrast in time: frames find their partners once the offset of the crops is undone."""

import dataclasses

import pytest
import torch
from torch import nn

from audiossl.batches import DataFacts, ViewBatch
from audiossl.errors import UserError
from audiossl.features.log_mel import LogMel, LogMelConfig
from audiossl.methods.crops import at_times_of
from audiossl.methods.time_contrast import TimeContrast, TimeContrastConfig
from audiossl.models.encoder import FeatureEncoder
from audiossl.nn.frames import Frames
from audiossl.training.loop import train
from tests.training.test_gradient_cache import Source, _close
from tests.training.toy import loop_config, place

FACTS = DataFacts(overlap=0.5)


class Local(FeatureEncoder):
    """Frames of 40 ms that see nothing beyond."""

    def __init__(self):
        super().__init__()
        self.sample_rate, self.num_bins, self.frame_rate, self.dim = 16000, 32, 25.0, 16
        self.front_end = LogMel(LogMelConfig(num_bands=32))
        self.network = nn.Linear(4 * 32, 16)

    def features(self, waveforms, lengths):
        return self.front_end(waveforms), self.front_end.lengths(lengths)

    def encode_features(self, features, feature_lengths, context=None):
        count = features.shape[1] // 4
        patches = features[:, : 4 * count].reshape(len(features), count, 4 * 32)
        return Frames(self.network(patches), feature_lengths // 4, self.frame_rate)


def _method():
    torch.manual_seed(0)
    return TimeContrast(Local(), TimeContrastConfig(projection_dim=8), FACTS)


def _batch(offsets):
    """Crops of 0.5 s out of noises of 1 s whose color changes all the time."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(len(offsets), 40, 640, generator=generator)
    colors = torch.fft.rfft(noise) * torch.rand(len(offsets), 40, 321, generator=generator) ** 4
    noise = torch.fft.irfft(colors).flatten(1)
    starts = 6400 + torch.tensor(offsets)
    anchors = noise[:, 6400:14400]
    positives = torch.stack([row[s : s + 8000] for row, s in zip(noise, starts, strict=True)])
    there = torch.ones(len(offsets), dtype=torch.bool)
    numbers = torch.arange(len(offsets))
    return ViewBatch(anchors, positives, there, numbers, offsets=torch.tensor(offsets))


def test_frames_find_their_partners_and_do_not_without_the_offset():
    method, batch = _method(), _batch([0, 640, -1280, 1920, -3200])
    losses = method(batch, 0, torch.Generator())
    assert float(losses.metrics["recall"]) > 0.99
    assert losses.weight == 12 + 11 + 10 + 9 + 7
    shifted = dataclasses.replace(batch, offsets=torch.full((5,), 5 * 640))
    assert float(method(shifted, 0, torch.Generator()).metrics["recall"]) < 0.3


def test_partners_are_interpolated_at_the_times_of_the_others():
    times = torch.arange(10.0)[:, None] * 0.1 + 0.05
    crop = Frames(times[None], torch.tensor([8]), 10.0)
    other = Frames(torch.zeros(1, 10, 1), torch.tensor([9]), 10.0)
    found, valid = at_times_of(crop, other, torch.tensor([0.25]))
    torch.testing.assert_close(found[0, valid[0], 0], times[:5, 0] + 0.25)
    assert valid[0].tolist() == [True] * 5 + [False] * 5
    _, valid = at_times_of(crop, other, torch.tensor([-0.05]))
    assert valid[0].tolist() == [False] + [True] * 7 + [False] * 2


class _Kept(TimeContrast):
    def after_update(self):
        self.gradients = [p.grad.clone() for p in self.parameters()]


def _gradients(folder, accumulate):
    torch.manual_seed(0)
    method = _Kept(Local(), TimeContrastConfig(projection_dim=8), FACTS)
    train(method, Source(), loop_config(1, accumulate=accumulate), place(folder))
    return method.gradients


def test_parts_and_ranks_have_the_gradient_of_the_whole(tmp_path, two_processes):
    whole = _gradients(tmp_path / "1", 1)
    _close(_gradients(tmp_path / "4", 4), whole)
    for gradients in two_processes.run(_gradients, tmp_path / "2", 2):
        _close(gradients, whole)


def test_crops_that_need_not_overlap_are_refused():
    with pytest.raises(UserError, match=r"need not overlap: set views.overlap, to 0\.5"):
        TimeContrast(Local(), TimeContrastConfig(), DataFacts())


def test_crops_shorter_than_a_frame_are_refused():
    batch = ViewBatch(
        torch.randn(2, 600), torch.randn(2, 600), torch.ones(2, dtype=torch.bool), torch.arange(2),
        offsets=torch.zeros(2, dtype=torch.int64),
    )  # fmt: skip
    with pytest.raises(UserError, match="shorter than two frames of the encoder: give a larger"):
        _method()(batch, 0, torch.Generator())
