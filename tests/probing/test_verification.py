import numpy as np
import pytest

from audiossl.errors import UserError
from audiossl.probing.bootstrap import BootstrapConfig
from audiossl.probing.verification import (
    drawn_trials,
    equal_error_rate,
    equal_error_rates,
    minimum_costs,
    read_trials,
    trial_weights,
)


def test_scores_of_two_normal_distributions_have_the_rate_of_theory():
    generator = np.random.default_rng(0)
    same = np.repeat([True, False], 50_000)
    scores = generator.normal(size=100_000) + 2.0 * same
    assert equal_error_rate(same, scores) == pytest.approx(0.1587, abs=0.003)  # Phi(-1)


@pytest.mark.parametrize(
    ("same", "scores", "rate"),
    [
        ([1, 1, 0, 0], [4, 3, 2, 1], 0.0),
        ([0, 0, 1, 1], [4, 3, 2, 1], 1.0),
        ([1, 0, 1, 0], [1, 1, 1, 1], 0.5),
        ([1, 1, 1], [1, 2, 3], np.nan),
    ],
)
def test_closed_forms(same, scores, rate):
    found = equal_error_rate(np.array(same, bool), np.array(scores, float))
    assert found == pytest.approx(rate, nan_ok=True)


def test_weights_are_copies_of_trials():
    generator = np.random.default_rng(0)
    same = generator.random(60) < 0.4
    scores = generator.normal(size=60) + same
    weights = generator.integers(0, 3, (4, 60)).astype(float)
    found = equal_error_rates(same, scores, weights)
    for row, rate in zip(weights.astype(int), found, strict=True):
        assert equal_error_rate(same.repeat(row), scores.repeat(row)) == pytest.approx(rate)


def test_the_least_cost_is_that_of_the_best_threshold():
    same, scores = np.array([1, 1, 0, 1, 0], bool), np.array([5.0, 4.0, 3.0, 2.0, 1.0])
    # Above 3: a third is missed. At 3 half of the others are accepted, at 99 times the price.
    assert minimum_costs(same, scores, np.ones((1, 5)))[0] == pytest.approx(1 / 3)


def test_a_list_of_trials_names_clips(tmp_path):
    path = tmp_path / "veri_test.txt"
    path.write_text("1 a/1.wav a/2.wav\n0 a/1.wav b/1.wav\n")
    trials = read_trials(path, {"a/1.wav": 0, "a/2.wav": 1, "b/1.wav": 2})
    assert trials.first.tolist() == [0, 0]
    assert trials.second.tolist() == [1, 2]
    assert trials.same.tolist() == [True, False]
    for text, words in (
        ("1 a/1.wav c.wav", "no clip 'c.wav'"),
        ("same a/1.wav b/1.wav", "line 1: 'same"),
        ("1 a/1.wav", "is not '0 or 1"),
        ("1 a/1.wav a/2.wav", "1 of 1 trials"),
        ("", "0 of 0 trials"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=words):
            read_trials(path, {"a/1.wav": 0, "a/2.wav": 1, "b/1.wav": 2})


def test_pairs_are_drawn_as_often_of_one_speaker_as_of_two():
    speakers = ["a"] * 5 + ["b"] * 4 + ["c"]
    trials = drawn_trials(speakers, 8)
    assert (trials.same.sum(), len(trials.same)) == (8, 16)
    names = np.array(speakers)
    np.testing.assert_array_equal(names[trials.first] == names[trials.second], trials.same)
    assert len(set(zip(trials.first, trials.second, strict=True))) == 16
    assert drawn_trials(speakers, 100).same.sum() == 16
    with pytest.raises(UserError, match="0 of 0 trials"):
        drawn_trials(["a", "b"], 8)


def test_speakers_are_drawn_whole():
    speakers = np.array(["a", "a", "b", "b", "c", "c"])
    trials = drawn_trials(list(speakers), 100)
    weights = np.concatenate(list(trial_weights(trials, speakers, BootstrapConfig(replicates=200))))
    a, b = (speakers[part] for part in (trials.first, trials.second))
    own = {name: weights[:, trials.same & (a == name)][:, 0] for name in "abc"}
    np.testing.assert_allclose(sum(own.values()), 3)
    mixed = (a == "a") & (b == "b")
    if mixed.any():
        np.testing.assert_allclose(weights[:, mixed][:, 0], own["a"] * own["b"])
