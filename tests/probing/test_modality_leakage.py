import math

import numpy as np

from audiossl.probing.modality_leakage import modality_leakage


def _histograms(generator, weights, count=60):
    return generator.dirichlet(weights, size=count).astype(np.float32)


def test_modalities_with_codes_of_their_own_are_told_apart_and_with_shared_ones_are_not():
    generator = np.random.default_rng(0)
    groups = np.arange(60) // 3
    shared = [_histograms(generator, np.ones(8)) for _ in range(2)]
    assert abs(modality_leakage(shared, groups) - 0.5) < 0.15
    low, high = [5.0] * 4 + [0.1] * 4, [0.1] * 4 + [5.0] * 4
    split = [_histograms(generator, weights) for weights in (low, high)]
    assert modality_leakage(split, groups) > 0.98


def test_what_tells_the_modalities_of_known_songs_apart_does_not_count():
    generator = np.random.default_rng(0)
    # Each song has a code of its own a modality: who knew the song would know the modality.
    groups = np.arange(60) // 3
    one, other = np.full((2, 60, 40), 0.01)
    for pair, song in enumerate(groups):
        first = generator.permuted([2 * song, 2 * song + 1]) if pair % 3 == 0 else first
        one[pair, first[0]], other[pair, first[1]] = 1.0, 1.0
    assert modality_leakage([one, other], groups) < 0.65


def test_one_group_alone_says_nothing():
    assert math.isnan(modality_leakage([np.ones((4, 2)), np.ones((4, 2))], np.zeros(4, int)))
