"""A reservoir is a fair sample, whatever the batches."""

import pytest
import torch

from audiossl.quantization.reservoir import Reservoir


def _sample(num_frames, size, batch, seed=0, dtype=torch.float32):
    reservoir = Reservoir(size, 1, torch.Generator().manual_seed(seed), dtype)
    for frames in torch.arange(num_frames, dtype=torch.float32)[:, None].split(batch):
        reservoir.add(frames)
    assert reservoir.seen == num_frames
    return reservoir.frames[:, 0]


@pytest.mark.parametrize("batch", [1, 7, 100, 1000])
def test_frames_are_kept_once_whatever_the_batches(batch):
    kept = _sample(1000, 50, batch)
    assert len(set(kept.tolist())) == 50
    assert sorted(kept.tolist()) == sorted(_sample(1000, 50, 13).tolist())


def test_all_are_kept_if_they_are_few():
    assert sorted(_sample(30, 50, 8).tolist()) == list(range(30))
    assert len(_sample(30, 0, 8)) == 0


def test_every_frame_has_the_same_chance():
    counts = torch.zeros(200)
    for seed in range(400):
        counts[_sample(200, 20, 30, seed).long()] += 1
    # Binomial with mean 40 and deviation 6: five deviations.
    assert abs(float(counts.mean()) - 40) < 1e-6
    assert 10 <= float(counts.min()) <= float(counts.max()) <= 70
    assert abs(float(counts[:100].mean()) - 40) < 2


def test_frames_are_kept_in_the_type_that_is_asked_for():
    assert _sample(10, 5, 3, dtype=torch.float16).dtype == torch.float16
