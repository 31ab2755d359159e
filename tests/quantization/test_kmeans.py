import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from audiossl.errors import UserError
from audiossl.quantization.frame_batches import FrameBatches
from audiossl.quantization.kmeans import KMeansConfig, KMeansTraining, train_kmeans
from audiossl.quantization.nearest import nearest_entries

CONFIG = KMeansConfig(codebook_size=12, num_steps=30, batch_size=400)


def clouds(num_frames=2000):
    generator = np.random.default_rng(0)
    centers = 3 * generator.standard_normal((12, 5))
    which = generator.integers(12, size=num_frames)
    return (centers[which] + generator.standard_normal((num_frames, 5))).astype(np.float32)


def squared_error(entries, frames):
    frames = torch.from_numpy(frames)
    return float((frames - entries[nearest_entries(frames, entries)]).square().sum(1).mean())


def test_nearest_is_nearest():
    frames, entries = torch.randn(50, 7) + 5, torch.randn(9, 7) + 5
    assert torch.equal(nearest_entries(frames, entries), torch.cdist(frames, entries).argmin(1))


def test_is_about_as_good_as_full_k_means():
    frames = clouds()
    trained = train_kmeans(FrameBatches(frames, 400, seed=0), CONFIG)
    full = KMeans(12, n_init=5, random_state=0).fit(frames)
    assert squared_error(trained.entries, frames) < 1.05 * full.inertia_ / len(frames)
    assert trained.quantizer.encode(torch.from_numpy(frames)).dtype == torch.uint8


def test_a_resumed_training_equals_an_uninterrupted_one():
    batches = FrameBatches(clouds(), 400, seed=0)
    whole = train_kmeans(batches, CONFIG)
    half = train_kmeans(batches, CONFIG, num_steps=11)
    assert half.step == 11
    again = train_kmeans(batches, CONFIG, KMeansTraining(**half.state_dict()))
    assert torch.equal(again.entries, whole.entries)
    assert again.step == whole.step == 30


def test_dead_centroids_start_again_at_frames():
    batches = FrameBatches(clouds(), 400, seed=0)
    far = torch.full((12, 5), 1e3)
    far[0] = 0
    trained = train_kmeans(batches, CONFIG, KMeansTraining(0, far, torch.zeros(12)))
    assert trained.entries.abs().max() < 20
    codes = nearest_entries(torch.from_numpy(clouds()), trained.entries)
    assert len(codes.unique()) == 12


def _train():
    return train_kmeans(FrameBatches(clouds(), 400, seed=0), CONFIG).state_dict()


def test_one_process_and_two_find_the_same_centroids(two_processes):
    alone = _train()
    first, second = two_processes.run(_train)
    for name in ("entries", "counts"):
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], alone[name], rtol=1e-4, atol=1e-4)


def test_too_few_frames_are_refused():
    with pytest.raises(UserError, match="12 centroids cannot start from a batch of 8 frames"):
        train_kmeans(FrameBatches(clouds(), 8, seed=0), CONFIG)
    same = np.zeros((500, 5), np.float32)
    with pytest.raises(UserError, match="only 1 different frames"):
        train_kmeans(FrameBatches(same, 400, seed=0), CONFIG)
