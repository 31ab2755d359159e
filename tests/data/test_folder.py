import os
import unicodedata

import numpy as np
import pytest
import soundfile

from audiossl.data.corpus import Corpus
from audiossl.data.folder import folder_items
from audiossl.data.reading import read_item
from audiossl.data.tables import read_labels
from audiossl.errors import Skip, UserError
from tests.data.corpora import prepare, tone, write_folder


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
        ("path,speaker\n,ann\n", "line 2: has no path, but ann"),
        ("path;speaker\nx.wav;ann\n", "its delimiter is ';', expected ','"),
        ('path,speaker\nx.wav,"ann\ny.wav,bob\n', "line 3: cannot be read as a table of labels"),
        ("path,speaker,speaker\nx.wav,ann,bob\n", "two columns are called 'speaker'"),
        ("path,speaker\nx\0.wav,ann\n", "line 2: holds a NUL byte"),
        (b"path,speaker\nx.wav,Andr\xe9\n", "line 2: cannot be read as utf-8: save the table"),
    ],
)
def test_a_bad_table_is_refused_with_its_line(tmp_path, table, message):
    content = table if isinstance(table, bytes) else table.encode()
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_labels(tmp_path / "labels.csv")
    assert message in str(caught.value)


def test_an_empty_or_missing_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        folder_items(tmp_path / "none")
    with pytest.raises(UserError, match="no audio files in it"):
        folder_items(tmp_path)
    (tmp_path / "labels.csv").write_text("path,kind\n")
    with pytest.raises(UserError, match=r"they name nothing \(.*labels.csv\): give a table"):
        folder_items(tmp_path, tmp_path / "labels.csv", only_labeled=True)


@pytest.mark.parametrize("spelling", ["{name}", "./{name}", "../audio/{name}", "{folder}/{name}"])
@pytest.mark.parametrize("only_labeled", [False, True])
def test_a_file_is_one_item_however_its_path_is_spelled(tmp_path, spelling, only_labeled):
    folder = tmp_path / "audio"
    write_folder(folder, [0.1, 0.1])
    rows = [spelling.format(folder=folder, name=name) + ",dog" for name in ("000.wav", "001.wav")]
    (tmp_path / "labels.csv").write_text("\n".join(["path,category", *rows, ",", ""]))
    items = folder_items(folder, [tmp_path / "labels.csv"], only_labeled=only_labeled)
    assert {item.id: item.labels["category"] for item in items} == {"000": "dog", "001": "dog"}
    assert len(items) == 2
    with (tmp_path / "labels.csv").open("a") as file:
        file.write("../audio/./000.wav,cat\n")
    with pytest.raises(UserError, match=r"is labeled a second time, as '000.wav'"):
        folder_items(folder, [tmp_path / "labels.csv"], only_labeled=only_labeled)


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_are_equal_in_both_forms(tmp_path, forms):
    on_disk, in_table = (unicodedata.normalize(form, "été/café") for form in forms)
    (tmp_path / on_disk).parent.mkdir()
    soundfile.write(tmp_path / f"{on_disk}.wav", tone(0.1, 300), 16000)
    (tmp_path / "labels.csv").write_text(f"path,drink\n{in_table}.wav,hot\n", encoding="utf-8")
    (item,) = folder_items(tmp_path, [tmp_path / "labels.csv"])
    assert item.labels == {"path": f"{on_disk}.wav", "drink": "hot"}
    assert not item.problem


def test_a_table_of_a_spreadsheet_is_read_as_it_is(tmp_path):
    table = "\tpath\tspeaker\n0\tx.wav\tAndré\n\t\t\n"
    (tmp_path / "labels.tsv").write_text(table, encoding="utf-16")
    assert read_labels(tmp_path / "labels.tsv") == {"x.wav": {"speaker": "André"}}


def test_the_folder_itself_is_no_recording(tmp_path):
    write_folder(tmp_path, [0.1])
    (tmp_path / "labels.csv").write_text("path\n.\n")
    with pytest.raises(UserError, match="is the folder itself"):
        folder_items(tmp_path, [tmp_path / "labels.csv"])


def test_links_to_folders_above_list_each_file_once_in_its_own_place(tmp_path):
    (tmp_path / "clips").mkdir()
    soundfile.write(tmp_path / "clips" / "x.wav", tone(0.1, 300), 16000)
    (tmp_path / "clips" / "up").symlink_to("..")
    (tmp_path / "clips" / "again").symlink_to("../clips")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "a.wav").symlink_to("clips/x.wav")
    assert [item.id for item in folder_items(tmp_path)] == ["clips/x"]
    (tmp_path / "labels.csv").write_text("path,category\na.wav,dog\n")
    (item,) = folder_items(tmp_path, [tmp_path / "labels.csv"])
    assert (item.id, item.labels["category"]) == ("clips/x", "dog")


def test_names_are_never_run_as_commands(tmp_path):
    folder, witness = tmp_path / "audio", tmp_path / "witness"
    for name in (f"x;touch ..{os.sep}witness;echo |", "y.wav|", "stems |"):
        path = folder / name.replace(os.sep, "")
        (path if name == "stems |" else folder).mkdir(parents=True, exist_ok=True)
        soundfile.write(path / "mixture.wav" if path.is_dir() else path, tone(0.1, 300), 16000,
                        format="WAV")  # fmt: skip
    names = sorted(path.name for path in folder.iterdir())
    (tmp_path / "labels.csv").write_text("\n".join(["path", *names, "touch witness |"]) + "\n")
    items = folder_items(folder, [tmp_path / "labels.csv"])
    sounds = [read_item(item) for item in items if not item.problem]
    assert len(sounds) == 3
    assert [item.id for item in items if item.problem] == ["touch witness |"]
    assert not witness.exists()


def test_what_cannot_be_opened_is_an_item_with_a_problem(tmp_path, monkeypatch):
    write_folder(tmp_path, [0.1])
    (tmp_path / "closed").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "000.wav").rename(tmp_path / os.fsdecode("日.wav".encode("shift_jis")))
    (tmp_path / "labels.csv").write_text(f"path,text\n{'long' * 2000}.wav,x\n")
    os.mkfifo(tmp_path / "pipe without a suffix")
    listed = os.scandir

    def scandir(path):
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr("os.scandir", scandir)
    problems = {item.id[:6]: item for item in folder_items(tmp_path, [tmp_path / "labels.csv"])}
    assert "closed: cannot be read (Permission denied)" in problems["closed"].problem
    assert "no such file" in problems["longlo"].problem
    assert r"\x93\xfa.wav: its name is not UTF-8" in problems[r"\x93\x"].problem
    with pytest.raises(Skip, match=r"pipe.wav: not a file"):
        read_item(problems["pipe"])


def test_kinds_that_cannot_be_read_are_counted_and_not_passed_over(tmp_path):
    for suffix in ("webm", "mka", "aac", "ac3", "wv", "sph", "m4a", "wma"):
        (tmp_path / f"{suffix}.{suffix}").write_bytes(b"no audio that is read here")
    items = folder_items(tmp_path)
    assert len(items) == 8
    for item in items:
        with pytest.raises(Skip, match=f"{item.id}.{item.id}: "):
            read_item(item)


def test_two_stems_of_one_name_are_refused(tmp_path):
    (tmp_path / "song").mkdir()
    for name in ("mixture.wav", "drums.wav", "drums.flac"):
        soundfile.write(tmp_path / "song" / name, tone(0.1, 300), 16000)
    (item,) = folder_items(tmp_path)
    with pytest.raises(Skip, match=r"drums.wav: has the name of drums.flac"):
        read_item(item)


def test_labels_never_replace_what_is_measured(tmp_path):
    write_folder(tmp_path / "audio", [0.1])
    (tmp_path / "labels.csv").write_text(
        "path,id,duration,native_rate,gain\n000.wav,name,1 s,8000,0.5\n"
    )
    prepare(tmp_path / "audio", tmp_path / "cuts", labels=[tmp_path / "labels.csv"])
    corpus = Corpus(tmp_path / "cuts")
    (labels,) = corpus.labels()
    assert labels["id"] == "name"
    assert (labels["duration"], labels["native_rate"]) == ("0.1", "16000")
    assert (labels["given_duration"], labels["given_native_rate"]) == ("1 s", "8000")
    assert np.abs(corpus.waveform(0)).max() == pytest.approx(0.3, abs=1e-3)


def test_identities_may_be_long(tmp_path):
    write_folder(tmp_path / "audio", [0.1])
    name = "ö" * 3000
    (tmp_path / "labels.csv").write_text(f"path,id\n000.wav,{name}\n", encoding="utf-8")
    prepare(tmp_path / "audio", tmp_path / "cuts", labels=[tmp_path / "labels.csv"])
    corpus = Corpus(tmp_path / "cuts")
    assert corpus.name(0) == name
    assert len(corpus.waveform(0)) == 1600


def test_what_datalad_keeps_behind_its_links_has_the_names_of_the_links(tmp_path):
    annex = tmp_path / ".git" / "annex" / "objects"
    annex.mkdir(parents=True)
    soundfile.write(annex / "MD5E-s1.wav", tone(0.1, 300), 16000)
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "x.wav").symlink_to("../.git/annex/objects/MD5E-s1.wav")
    assert [item.id for item in folder_items(tmp_path)] == ["clips/x"]
