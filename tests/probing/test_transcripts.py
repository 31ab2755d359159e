from audiossl.probing.transcripts import character_error_rate, word_error_rate


def test_edits_are_counted_as_by_hand():
    for reference, hypothesis, errors in (
        ("kitten", "sitting", 3),
        ("", "abc", 3),
        ("abc", "", 3),
        ("abc", "abc", 0),
        ("ab", "ba", 2),
    ):
        assert character_error_rate([reference], [hypothesis]).errors == errors


def test_rates_are_over_all_symbols_of_the_references():
    references, hypotheses = ["the cat sat", "on"], ["the bat sat down", "on"]
    words = word_error_rate(references, hypotheses)
    assert (words.errors, words.count) == (2, 4)
    assert words.rate == 0.5
    characters = character_error_rate(references, hypotheses)
    assert (characters.errors, characters.count) == (6, 13)
    assert word_error_rate([""], ["a"]).rate == 1.0
