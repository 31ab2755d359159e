"""Four stems without weights against librosa's functions as they come: the same to the last bit."""

import numpy as np

from audiossl.separation.decomposition import DecompositionConfig, decompose
from tests.benchmarks.rounds import compare
from tests.oracles.decomposition import librosas_stems
from tests.separation.mixtures import music, rows

RATE = 16_000


def test_decomposition_of_a_clip_of_music():
    mixture, config = music(rows("music")[0])[: 10 * RATE], DecompositionConfig()
    expected = librosas_stems(mixture, RATE, config)
    for name, stem in decompose(mixture, RATE, config).items():
        np.testing.assert_array_equal(stem, expected[name])
    ratio = compare(
        f"decomposition of {len(mixture) / RATE:.0f} s into four stems, against librosa",
        lambda: decompose(mixture, RATE, config),
        lambda: librosas_stems(mixture, RATE, config),
        rounds=5, goal=3.0,
    )  # fmt: skip
    assert ratio > 3.0
