# ruff: noqa: RUF001 - texts of many scripts
import unicodedata

import pytest

from audiossl.data.text_units import TextUnits, normalized, read_lexicon, text_units, vocabulary_of
from audiossl.errors import Skip, UserError
from audiossl.probing.sequence_tasks import targets_of


def test_texts_that_are_read_alike_are_equal():
    assert normalized("Don't  STOP,\n please!") == "don't stop please"
    assert normalized("ПОЖАЛУЙСТА.") == "пожалуйста"
    assert normalized("  ...") == ""


@pytest.mark.parametrize(
    "text", ["हिन्दी भाषा", "ภาษาไทย ที่ดี", "தமிழ்", "café déjà", "می\u200cخواهم", "Straße", "İstanbul"]
)
def test_words_of_every_script_stay_whole_in_every_form_of_unicode(text):
    written = normalized(text)
    assert len(written.split()) == len(text.split())
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert normalized(unicodedata.normalize(form, text)) == written
    symbols = targets_of("characters", [[text]])
    numbers = symbols.encode([unicodedata.normalize("NFD", text)], "cut")
    assert symbols.decode(numbers) == written


def test_apostrophes_are_one_letter_however_they_are_set():
    assert normalized("don’t") == normalized("donʼt") == normalized("don＇t") == "don't"


def test_characters_are_numbered_alike_everywhere_and_unknown_ones_are_0():
    units = TextUnits(vocabulary_of(["ab", "b c"]))
    assert units.vocabulary == ("<unknown>", " ", "a", "b", "c")
    assert units.encode("Bad, c").tolist() == [3, 2, 0, 1, 4]
    with pytest.raises(Skip, match="no unit that is known"):
        units.encode("дда")


def test_phones_come_from_a_dictionary_whose_first_entry_counts(tmp_path):
    path = tmp_path / "words.dict"
    path.write_text(";;; a comment\nread R EH D\nread(2) R IY D # later\nTHE DH AH\n")
    lexicon = read_lexicon(path)
    assert text_units("The, read book", lexicon) == ["DH", "AH", "R", "EH", "D", "<unknown>"]
    assert vocabulary_of(["the book"], lexicon) == ("<unknown>", "AH", "DH")
    path.write_text("the 0.5 DH AH\n")
    with pytest.raises(UserError, match=r"line 1: '0.5' is no phone"):
        read_lexicon(path)
    path.write_text("word\n")
    with pytest.raises(UserError, match="line 1: 'word' has no phones"):
        read_lexicon(path)
