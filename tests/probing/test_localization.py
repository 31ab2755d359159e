import math

import numpy as np
import pytest

from audiossl.probing.localization import code_overlap, frame_retrieval


def test_codes_at_the_same_places_overlap_fully_and_apart_not_at_all():
    codes = [np.array([1, 1, 2, 2]), np.array([3, 3, 3, 1])]
    assert code_overlap(codes, codes).score == 1.0
    assert code_overlap(codes, codes).codes_in_both == 1.0
    turned = [np.roll(clip, 2) for clip in codes[:1]]
    assert code_overlap(codes[:1], turned).score == 0.0
    # each of the two codes: 2 x 2 / 4 = 1 expected frame of 3 in either
    assert code_overlap(codes[:1], turned).chance == pytest.approx(1 / 3)


def test_codes_of_one_modality_alone_have_no_place_to_compare():
    found = code_overlap([np.array([0, 0])], [np.array([1, 1])])
    assert math.isnan(found.score)
    assert found.codes_in_both == 0.0
    mixed = code_overlap([np.array([0, 0, 1, 1])], [np.array([0, 2, 2, 2])])
    assert mixed.score == 0.5  # of code 0 alone: one frame of two
    assert mixed.codes_in_both == pytest.approx(1 / 3)


def test_chance_is_the_mean_over_all_turns():
    generator = np.random.default_rng(0)
    first, second = generator.integers(4, size=(2, 12))
    turned = [code_overlap([first], [np.roll(second, turn)]) for turn in range(12)]
    together = []
    for turn in range(12):
        both = np.intersect1d(first, second)
        together.append(
            sum(((first == c) & (np.roll(second, turn) == c)).sum() for c in both)
        )  # fmt: skip
    total = sum((first == c).sum() + (second == c).sum() for c in np.intersect1d(first, second))
    expected = np.mean(together)
    assert turned[0].chance == pytest.approx(expected / (total - expected))


def test_frames_find_their_time_and_guessing_is_chance():
    generator = np.random.default_rng(0)
    clips = [generator.standard_normal((20, 8)) for _ in range(50)]
    found = frame_retrieval(clips, clips)
    assert found.recall == (1.0, 1.0, 1.0)
    assert found.median_error == 0
    shifted = frame_retrieval(clips, [np.roll(clip, 1, axis=0) for clip in clips])
    assert shifted.recall[0] == 0.0
    assert shifted.recall[1] == pytest.approx(0.95)  # the last frame came to the front
    guessed = frame_retrieval(clips, [generator.standard_normal((20, 8)) for _ in clips])
    np.testing.assert_allclose(guessed.recall, guessed.chance, atol=0.05)
    assert guessed.chance[0] == pytest.approx(1 / 20)
    assert guessed.chance[1] == pytest.approx((18 * 3 + 2 * 2) / 400)
