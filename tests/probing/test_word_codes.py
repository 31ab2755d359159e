import numpy as np
import pytest

from audiossl.data.alignments import AlignedWord
from audiossl.probing.word_codes import code_words


def test_precision_is_of_frames_and_recall_of_tokens():
    # Ten frames a second; "dog" is said twice, and code 7 fires in the first one and once outside.
    codes = [np.array([7, 7, 1, 1, 1]), np.array([2, 2, 7, 2, 2])]
    words = [[AlignedWord("dog", 0.0, 0.2)], [AlignedWord("dog", 0.3, 0.5)]]
    found = {row[0].code: row for row in code_words(codes, words, 10.0)}
    (dog,) = found[7]
    assert (dog.word, dog.uses) == ("dog", 3)
    assert dog.precision == pytest.approx(2 / 3)
    assert dog.recall == 0.5
    assert dog.f1 == pytest.approx(4 / 7)
    assert found[2][0].precision == 0.5
    assert 1 not in found, "it overlaps no word"


def test_frames_that_only_touch_a_word_do_not_overlap_it():
    words = [[AlignedWord("a", 0.1, 0.3), AlignedWord("b", 0.3, 0.35)]]
    found = {row[0].code: row[0] for row in code_words([np.arange(5)], words, 10.0)}
    assert sorted(found) == [1, 2, 3]
    assert found[3].word == "b"
    assert found[1].recall == found[1].precision == 1.0


def test_the_best_word_of_a_code_comes_first_and_the_best_code_too():
    codes = [np.array([1, 1, 2, 2]), np.array([1, 1, 2, 3])]
    words = [[AlignedWord("x", 0.0, 2.0), AlignedWord("y", 2.0, 4.0)]] * 2
    found = code_words(codes, words, 1.0)
    assert [row[0].word for row in found] == ["x", "y", "y"]
    assert [row[0].f1 for row in found] == sorted((row[0].f1 for row in found), reverse=True)
    assert found[0][0].f1 == 1.0


def test_a_word_that_reaches_over_the_end_of_a_clip_is_cut():
    found = code_words([np.array([4, 4])], [[AlignedWord("long", -1.0, 9.0)]], 2.0)
    assert found[0][0].f1 == 1.0
