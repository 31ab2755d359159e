from audiossl.probing.transcripts import character_error_rate, edit_distance, word_error_rate


def test_edits_are_counted_as_by_hand():
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("", "abc") == 3
    assert edit_distance("abc", "") == 3
    assert edit_distance("abc", "abc") == 0
    assert edit_distance("ab", "ba") == 2


def test_rates_are_over_all_that_was_said():
    said, found = ["the cat sat", "on"], ["the bat sat down", "on"]
    words = word_error_rate(said, found)
    assert (words.errors, words.count) == (2, 4)
    assert words.rate == 0.5
    characters = character_error_rate(said, found)
    assert (characters.errors, characters.count) == (6, 13)
    assert word_error_rate([""], ["a"]).rate == 1.0
