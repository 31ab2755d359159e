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


FORM = "expected 'recording channel start duration word'"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rec1 1 0.5 the", FORM),
        ("rec1", FORM),
        ("rec1 1 half 0.25 the", "'half' is no time in seconds"),
        ("rec1 1 nan 0.25 the", "'nan' is no time in seconds"),
        ("rec1 1 -0.5 0.25 the", "'the' from -0.5 s, 0.25 s long, is nowhere"),
        ("rec1 1 0.5 -1 the", "is nowhere"),
        ("rec1 1 0.5 \u0661 the", "is no time in seconds"),
        (b"rec1 1 0 1 caf\xe9", r"not UTF-8 \(byte 0xe9 at column 15"),
    ],
)
def test_a_line_of_another_form_is_named(tmp_path, line, message):
    path = tmp_path / "words.ctm"
    path.write_bytes(b"rec0 1 0 1 a\n" + (line if isinstance(line, bytes) else line.encode()))
    with pytest.raises(UserError, match=f"line 2: .*{message}"):
        read_ctm(path)


def test_words_may_hold_what_python_takes_for_line_ends(tmp_path):
    path = tmp_path / "words.ctm"
    path.write_bytes("\ufeffrec1\t1\t0\t1\ta\u2028b\r\n".encode())
    assert read_ctm(path) == {"rec1": [AlignedWord("a\u2028b", 0.0, 1.0)]}


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.ctm: cannot be read .No such file"):
        read_ctm(tmp_path / "none.ctm")
