import pytest

from audiossl.data.alignments import AlignedWord, read_ctm
from audiossl.errors import UserError


def test_words_of_each_recording_in_order(tmp_path):
    path = tmp_path / "words.ctm"
    path.write_text(
        ";; a comment\nrec1 1 0.50 0.25 the 0.9\nrec1 1 0.75 0.5 dog\n\nrec2 A 0 1 été\n"
    )
    found = read_ctm(path)
    assert found == {
        "rec1": [AlignedWord("the", 0.5, 0.75), AlignedWord("dog", 0.75, 1.25)],
        "rec2": [AlignedWord("été", 0.0, 1.0)],
    }


@pytest.mark.parametrize("line", ["rec1 1 0.5 the", "rec1 1 half 0.25 the", "rec1"])
def test_a_line_of_another_form_is_named(tmp_path, line):
    path = tmp_path / "words.ctm"
    path.write_text(f"rec0 1 0 1 a\n{line}\n")
    with pytest.raises(UserError, match="line 2: expected 'recording channel start duration word'"):
        read_ctm(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.ctm: cannot be read as an alignment"):
        read_ctm(tmp_path / "none.ctm")
