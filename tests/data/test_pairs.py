import json

import pytest

from audiossl.data.pairs import Pair, Reference, pair_row, read_pairs
from audiossl.errors import Skip, UserError
from tests.data.pairs import write_manifest


def test_what_is_written_is_what_is_read(tmp_path):
    pairs = [
        Pair(
            "a",
            {
                "audio": Reference("sound", "cut", "drums", 1.5, 2.0),
                "text": Reference("text", "Ja"),
            },
            "concept",
            "group",
            {"split": "train"},
        ),
        Pair(
            "b", {"x": Reference("array", "x.npy", row=0), "y": Reference("score", "y")}, "b", "b"
        ),
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(pair_row(pair)) + "\n" for pair in pairs))
    assert list(read_pairs(path)) == pairs


def test_a_pair_alone_is_its_own_concept_and_group(tmp_path):
    path = write_manifest(tmp_path, 1, row_0={"concept": "c"})
    (pair,) = read_pairs(path)
    assert (pair.concept, pair.group) == ("c", "c")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sides": {"image": {"kind": "array", "place": "x.npy"}}}, "no side 'text'"),
        ({"sides": {"image": None, "text": {"kind": "text", "place": "x"}}}, "no side 'image'"),
        ({"sides": None}, "no side 'image'"),
    ],
)
def test_pairs_with_a_missing_side_are_left_out_by_name(tmp_path, change, reason):
    path = write_manifest(tmp_path, 3, row_1=change)
    first, bad, last = read_pairs(path, ("image", "text"))
    assert isinstance(first, Pair)
    assert isinstance(last, Pair)
    assert isinstance(bad, Skip)
    assert reason in str(bad)
    assert "clip-1" in str(bad)


def test_misspelled_fields_and_kinds_are_named(tmp_path):
    side = {"image": {"kind": "array", "plaec": "x"}, "text": {"kind": "text", "place": "x"}}
    (bad,) = read_pairs(write_manifest(tmp_path, 1, row_0={"sides": side}))
    assert "did you mean 'place'" in str(bad)
    side["image"] = {"kind": "picture", "place": "x"}
    (bad,) = read_pairs(write_manifest(tmp_path, 1, row_0={"sides": side}))
    assert "needs a kind (sound, text, score, array)" in str(bad)


def test_what_is_no_manifest_is_refused(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("{}\n[1\n")
    with pytest.raises(UserError, match="line 2: not JSON"):
        list(read_pairs(path))
    with pytest.raises(UserError, match="cannot be read as a manifest"):
        list(read_pairs(tmp_path / "none.jsonl"))
