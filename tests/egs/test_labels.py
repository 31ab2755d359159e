"""Tables of corpora: splits and labels by the rules of their users."""

import csv
import subprocess
import sys

import pytest

from egs.fma.local.labels import read_tracks, track_path
from egs.magnatagatune.local import labels as mtat
from egs.musdb18.local import labels as musdb
from tests.egs.layouts import fma, magnatagatune, musdb18


def table(module, folder, output) -> dict[str, dict[str, str]]:
    command = [sys.executable, "-m", module, str(folder), str(output)]
    subprocess.run(command, check=True)
    with output.open() as file:
        return {row["path"]: row for row in csv.DictReader(file)}


def test_magnatagatune_splits_by_folder():
    splits = {folder: mtat.split_of(f"{folder}/x.mp3") for folder in "0123456789abcdef"}
    assert [f for f, split in splits.items() if split == "train"] == list("0123456789ab")
    assert [f for f, split in splits.items() if split == "valid"] == ["c"]
    assert [f for f, split in splits.items() if split == "test"] == list("def")
    with pytest.raises(ValueError, match="folder 0 to f"):
        mtat.split_of("mp3/0/x.mp3")


def test_magnatagatune_filters_by_tags_and_length():
    assert mtat.filtered_split("d/x.mp3", ["rock"], 29.124) == "test"
    assert mtat.filtered_split("d/x.mp3", [], 29.124) == ""
    assert mtat.filtered_split("d/x.mp3", ["rock"], 29.1) == ""
    assert len(set(mtat.TAGS)) == 50
    assert (
        mtat.song_of("f/a-b-01-c-30-59.mp3") == mtat.song_of("f/a-b-01-c-0-29.mp3") == "f/a-b-01-c"
    )


def test_magnatagatune_table(tmp_path):
    folder = magnatagatune(tmp_path / "corpus")
    rows = table("egs.magnatagatune.local.labels", folder, tmp_path / "labels.csv")
    assert {row["split"] for row in rows.values()} == {"", "train", "valid", "test"}
    untagged = [row for row in rows.values() if not row["tags"]]
    assert untagged
    assert all(row["split"] == "" and row["split_unfiltered"] for row in untagged)
    # The one file of no length is listed by the corpus, and not by us.
    assert not any("broken" in path for path in rows)
    assert any(row["tags"] == "drums|no vocals" for row in rows.values())


def test_fma_reads_names_of_two_lines_and_drops_broken_tracks(tmp_path):
    folder = fma(tmp_path / "corpus")
    tracks = list(read_tracks(folder / "fma_metadata" / "tracks.csv"))
    assert tracks[0]["track.title"] == "a title,\nof two lines"
    rows = table("egs.fma.local.labels", folder, tmp_path / "labels.csv")
    assert track_path("fma_small", "000002") in rows
    assert track_path("fma_small", "099134") not in rows
    assert {row["split"] for row in rows.values()} == {"train", "valid", "test"}


def test_musdb18_takes_its_validation_songs_from_train(tmp_path):
    assert len(musdb.VALID) == 14
    assert musdb.split_of("train", "Leaf - Summerghost") == "valid"
    assert musdb.split_of("train", "Leaf - Other") == musdb.split_of("train", "x") == "train"
    assert musdb.split_of("test", "x") == "test"
    rows = table("egs.musdb18.local.labels", musdb18(tmp_path / "corpus"), tmp_path / "labels.csv")
    assert {row["split"] for row in rows.values()} == {"train", "valid", "test"}


def test_an_empty_folder_is_said(tmp_path):
    command = [sys.executable, "-m", "egs.musdb18.local.labels", str(tmp_path), str(tmp_path / "x")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "mixture.wav" in done.stderr
    assert not (tmp_path / "x").exists()
