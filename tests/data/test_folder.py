import pytest
import soundfile

from audiossl.data.folder import folder_items, read_labels
from audiossl.errors import UserError
from tests.data.corpora import tone, write_folder


def test_labels_are_joined_and_what_they_lack_is_kept(tmp_path):
    write_folder(tmp_path / "audio", [0.1, 0.1, 0.1])
    (tmp_path / "labels.tsv").write_text(
        "path\tspeaker\tsplit\n000.wav\tann\ttrain\n002.wav\tbob\t\n"
    )
    items = folder_items(tmp_path / "audio", [tmp_path / "labels.tsv"])
    assert [item.id for item in items] == ["000", "001", "002"]
    assert items[0].labels == {"speaker": "ann", "split": "train", "path": "000.wav"}
    assert items[2].labels == {"speaker": "bob", "path": "002.wav"}
    chosen = folder_items(tmp_path / "audio", [tmp_path / "labels.tsv"], only_labeled=True)
    assert [item.id for item in chosen] == ["000", "002"]


def test_a_folder_with_a_mixture_is_one_recording(tmp_path):
    for name in ("mixture", "drums", "vocals"):
        (tmp_path / "train" / "song").mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "train" / "song" / f"{name}.wav", tone(0.1, 300), 16000)
    soundfile.write(tmp_path / "train" / "other.wav", tone(0.1, 300), 16000)
    assert [item.id for item in folder_items(tmp_path)] == ["train/other", "train/song"]


def test_a_label_without_a_file_becomes_an_item_with_a_problem(tmp_path):
    write_folder(tmp_path, [0.1])
    (tmp_path / "labels.csv").write_text("path,speaker\nnone.wav,ann\n")
    problems = {item.id: item.problem for item in folder_items(tmp_path, [tmp_path / "labels.csv"])}
    assert problems["000"] == ""
    assert "none.wav: labels name it, but there is no such file" in problems["none"]


def test_duplicate_ids_are_told_apart(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(0.1, 300), 16000)
    soundfile.write(tmp_path / "a.flac", tone(0.1, 300), 16000)
    first, second = folder_items(tmp_path)
    assert (first.id, first.problem) == ("a", "")
    assert second.id == "a#2"
    assert "its id 'a' is that of" in second.problem


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file,speaker\nx.wav,ann\n", "no column 'path' in its header (file, speaker)"),
        ("pth,speaker\nx.wav,ann\n", "did you mean 'pth'?"),
        ("path,speaker\nx.wav,ann,extra\n", "line 2: 'x.wav' has another number of columns"),
        ("path,speaker\nx.wav,ann\nx.wav,bob\n", "line 3: 'x.wav' is labeled a second time"),
    ],
)
def test_a_bad_table_is_refused_with_its_line(tmp_path, table, message):
    (tmp_path / "labels.csv").write_text(table)
    with pytest.raises(UserError) as caught:
        read_labels(tmp_path / "labels.csv")
    assert message in str(caught.value)


def test_an_empty_or_missing_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        folder_items(tmp_path / "none")
    with pytest.raises(UserError, match="no audio files in it"):
        folder_items(tmp_path)
