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
        ({"modalities": {"image": {"kind": "array", "place": "x.npy"}}}, "no modality 'text'"),
        (
            {"modalities": {"image": None, "text": {"kind": "text", "place": "x"}}},
            "no modality 'image'",
        ),
        ({"modalities": None}, "no modality 'image'"),
    ],
)
def test_pairs_with_a_missing_modality_are_left_out_by_name(tmp_path, change, reason):
    path = write_manifest(tmp_path, 3, row_1=change)
    first, bad, last = read_pairs(path, ("image", "text"))
    assert isinstance(first, Pair)
    assert isinstance(last, Pair)
    assert isinstance(bad, Skip)
    assert reason in str(bad)
    assert "clip-1" in str(bad)


def test_misspelled_fields_and_kinds_are_named(tmp_path):
    modality = {"image": {"kind": "array", "plaec": "x"}, "text": {"kind": "text", "place": "x"}}
    (bad,) = read_pairs(write_manifest(tmp_path, 1, row_0={"modalities": modality}))
    assert "did you mean 'place'" in str(bad)
    modality["image"] = {"kind": "picture", "place": "x"}
    (bad,) = read_pairs(write_manifest(tmp_path, 1, row_0={"modalities": modality}))
    assert "needs a kind (sound, text, score, array)" in str(bad)


def test_what_is_no_manifest_is_refused(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("{}\n[1\n")
    with pytest.raises(UserError, match="line 2: not JSON"):
        list(read_pairs(path))
    with pytest.raises(UserError, match=r"none.jsonl: cannot be read"):
        list(read_pairs(tmp_path / "none.jsonl"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": "1.5"}, "start '1.5': expected seconds from 0 up"),
        ({"start": -1.0}, "start -1.0: expected"),
        ({"start": float("nan")}, "start nan: expected"),
        ({"start": True}, "start True: expected"),
        ({"duration": "2"}, "duration '2': expected seconds above 0"),
        ({"duration": 0}, "duration 0: expected"),
        ({"row": "3"}, "row '3': expected a whole number"),
        ({"row": -1}, "row -1: expected"),
        ({"field": 3}, "field 3: expected a name"),
        ({"place": 7}, "a modality needs a kind"),
    ],
)
def test_types_and_ranges_are_checked_where_a_manifest_is_read(tmp_path, change, message):
    modality = {"image": {"kind": "array", "place": "x", **change}, "text": TEXT}
    bad, good = read_pairs(write_manifest(tmp_path, 2, row_0={"modalities": modality}))
    assert isinstance(good, Pair)
    assert isinstance(bad, Skip)
    assert f"pairs.jsonl, line 1: {message}" in str(bad)


TEXT = {"kind": "text", "place": "x"}


def test_null_means_that_nothing_is_said(tmp_path):
    empty = dict.fromkeys(("field", "start", "duration", "row"))
    modality = {"image": {"kind": "array", "place": "x", **empty}, "text": TEXT}
    row = {"modalities": modality, "concept": None, "group": None, "labels": None}
    (pair,) = read_pairs(write_manifest(tmp_path, 1, row_0=row))
    assert pair.modalities["image"] == Reference("array", "x")
    assert pair.concept == pair.group == pair.id
    assert pair.labels == {}


@pytest.mark.parametrize("modalities", ["x", 3, [], {"a": 3, "b": "x"}])
def test_modalities_that_are_none_are_left_out_by_name(tmp_path, modalities):
    (bad,) = read_pairs(write_manifest(tmp_path, 1, row_0={"modalities": modalities}))
    assert isinstance(bad, Skip)
    assert "line 1: " in str(bad)


def test_a_second_pair_of_one_name_is_left_out(tmp_path):
    first, second = read_pairs(write_manifest(tmp_path, 2, row_1={"id": "clip-0"}))
    assert isinstance(first, Pair)
    assert "'clip-0' stands there a second time" in str(second)
