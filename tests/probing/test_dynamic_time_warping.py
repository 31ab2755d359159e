import itertools

import librosa
import numpy as np
import torch

from audiossl.probing.dynamic_time_warping import frame_costs, subsequence_costs


def _all_paths(costs):
    """Try every way of giving query frames to document frames, one step of 0, 1 or 2 at a time."""
    query, frames = costs.shape
    best = np.inf
    for start in range(frames):
        for steps in itertools.product((0, 1, 2), repeat=query - 1):
            places = start + np.cumsum((0, *steps))
            if places[-1] < frames:
                best = min(best, costs[np.arange(query), places].mean())
    return best


def test_no_path_is_cheaper():
    generator = np.random.default_rng(0)
    for query, frames in ((1, 3), (4, 5), (5, 2), (6, 7)):
        costs = generator.random((2, query, frames))
        found = subsequence_costs(torch.from_numpy(costs))
        np.testing.assert_allclose(found, [_all_paths(one) for one in costs])


def test_is_librosas_with_the_same_steps():
    costs = np.random.default_rng(1).random((20, 30))
    steps = np.array([[1, 0], [1, 1], [1, 2]])
    total, _ = librosa.sequence.dtw(C=costs, step_sizes_sigma=steps, subseq=True)
    found = subsequence_costs(torch.from_numpy(costs)[None])
    np.testing.assert_allclose(found, total[-1].min() / 20)


def test_padding_and_other_documents_change_nothing():
    query = torch.nn.functional.normalize(torch.randn(4, 8), dim=1)
    documents = torch.nn.functional.normalize(torch.randn(2, 9, 8), dim=2)
    valid = torch.arange(9) < torch.tensor([9, 5])[:, None]
    together = subsequence_costs(frame_costs(query, documents, valid))
    short = documents[1:, :5]
    alone = subsequence_costs(frame_costs(query, short, torch.ones(1, 5, dtype=torch.bool)))
    torch.testing.assert_close(together[1:], alone)


def test_costs_are_stretched_row_by_row():
    query = torch.nn.functional.normalize(torch.randn(3, 8), dim=1)
    document = torch.nn.functional.normalize(torch.randn(1, 6, 8), dim=2)
    costs = frame_costs(query, document, torch.ones(1, 6, dtype=torch.bool))[0]
    raw = np.exp(1 - (query @ document[0].T).numpy()) - 1
    expected = (raw - raw.min(1, keepdims=True)) / np.ptp(raw, axis=1, keepdims=True)
    np.testing.assert_allclose(costs, expected, rtol=1e-4, atol=1e-5)
