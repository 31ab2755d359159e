import numpy as np
import pytest
import soundfile
from lhotse import SupervisionSet

from audiossl.data.kaldi import kaldi_items
from audiossl.data.reading import read_item
from audiossl.data.rttm import read_rttm
from audiossl.errors import Skip, UserError
from tests.data.corpora import tone


@pytest.fixture
def folder(tmp_path):
    left, right = tone(2.0, 300), tone(2.0, 700)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], 1), 16000)
    (tmp_path / "wav.scp").write_text(
        f"rec1 {tmp_path}/a.wav\nrec2 cat {tmp_path}/a.wav |\nrec3 cat {tmp_path}/none.wav |\n"
    )
    (tmp_path / "segments").write_text("utt1 rec1 0.5 1.25\nutt2 rec2 1.0 -1\nutt3 rec3 0.0 1.0\n")
    (tmp_path / "reco2file_and_channel").write_text("rec1 rec1 B\n")
    (tmp_path / "utt2spk").write_text("utt1 ann\nutt2 bob\nutt3 bob\n")
    (tmp_path / "spk2gender").write_text("ann f\n")
    (tmp_path / "text").write_text("utt1 two words\n")
    return tmp_path


def test_segments_channels_and_labels(folder):
    first, second, _ = kaldi_items(folder, allow_commands=True)
    assert (first.id, first.recording, first.start, first.duration) == ("utt1", "rec1", 0.5, 0.75)
    assert first.labels == {"speaker": "ann", "text": "two words", "gender": "f"}
    expected = soundfile.read(folder / "a.wav", dtype="float32")[0][8000:20000, 1]
    np.testing.assert_array_equal(read_item(first).waveform, expected)
    assert (second.duration, second.channel) == (None, None)


def test_commands_are_run_and_their_failure_is_told(folder):
    _, second, third = kaldi_items(folder, allow_commands=True)
    whole = soundfile.read(folder / "a.wav", dtype="float32")[0].mean(1)
    np.testing.assert_allclose(read_item(second).waveform, whole[16000:], atol=1e-7)
    with pytest.raises(Skip, match=r"utt3: command failed with exit code 1 .*No such file"):
        read_item(third)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("segments", "utt1 rec1 0.5\n", "segments, line 1: expected '<utterance>"),
        ("segments", "utt1 rec1 -1 -1\n", "from -1.0 s to -1.0 s is no segment"),
        ("segments", "utt1 rec1 nan 0.5\n", "'nan' is no time in seconds"),
        ("segments", "utt1 rec1 0 1_0\n", "'1_0' is no time in seconds"),
        ("segments", "utt1 rec1 0 1 C\n", "'C' is no channel"),
        ("text", b"utt1 caf\xe9\n", "text, line 1: not UTF-8 (byte 0xe9 at column 9)"),
        ("utt2spk", "utt1 ann\n\nutt2 bob\n", "utt2spk, line 2: empty line"),
        ("utt2spk", "utt1 \n", "utt2spk, line 1: 'utt1' has no value"),
        ("reco2file_and_channel", "rec1 \u2028\n", "is no channel"),
        ("reco2file_and_channel", "rec1 rec1 X\n", "'X' is no channel"),
        ("segments", "utt1 rec1 1.0 0.5\n", "from 1.0 s to 0.5 s is no segment"),
        ("segments", "utt1 rec1 a 0.5\n", "'a' is no time in seconds"),
        ("wav.scp", "", "wav.scp: empty"),
        ("utt2spk", "utt1 ann\nutt1 bob\n", "utt2spk, line 2: 'utt1' stands there a second time"),
        ("rttm", "SPEAKER rec1 1 0.5 1.0\n", "rttm, line 1: expected 'SPEAKER recording channel"),
        ("rttm", "\nSPEAKER rec1 1 0.5 0 <NA> <NA> ann\n", "rttm, line 2: 'ann' from 0.5 s, 0.0 s"),
        ("rttm", "SPEAKER rec1 1 0.5 x <NA> <NA> ann\n", "'x' is no time in seconds"),
    ],
)
def test_a_bad_line_is_named(folder, name, content, message):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        kaldi_items(folder, allow_commands=True)
    assert message in str(caught.value)


def test_commands_run_only_where_the_user_has_allowed_them(folder):
    with pytest.raises(UserError, match=r"wav.scp, line 2: a shell command \(cat .*--allow-comm"):
        kaldi_items(folder)


def test_commands_have_no_input_and_a_limit(folder, monkeypatch):
    monkeypatch.setattr("audiossl.data.commands.SECONDS", 0.3)
    (folder / "segments").unlink()
    (folder / "wav.scp").write_text("rec1 cat |\nrec2 sleep 60 & wait |\n")
    (folder / "utt2spk").unlink()
    (folder / "text").unlink()
    first, second = kaldi_items(folder, allow_commands=True)
    with pytest.raises(Skip, match=r"rec1: what the command writes .cat.: empty file"):
        read_item(first)
    with pytest.raises(Skip, match=r"rec2: command still running after 0.3 s"):
        read_item(second)


@pytest.mark.parametrize("space", ["\t", "  ", " \t \f"])
def test_any_white_space_separates_and_other_line_ends_are_text(folder, space):
    text = "two\u2028words\x0band\x85more\x1c!"
    (folder / "wav.scp").write_text(f"\ufeffrec1{space}{folder}/a.wav\n")
    (folder / "segments").write_text(space.join(["utt1", "rec1", "0.5", "1.25"]) + space + "\r\n")
    (folder / "utt2spk").write_bytes(f"utt1{space}ann\r\n".encode())
    (folder / "text").write_text(f"utt1{space}{text}\n", encoding="utf-8")
    (item,) = kaldi_items(folder)
    assert (item.source, item.start, item.duration) == (f"{folder}/a.wav", 0.5, 0.75)
    assert item.labels == {"speaker": "ann", "text": text, "gender": "f"}


def test_keys_that_match_nothing_are_counted_and_named(folder):
    (folder / "text").write_text("utt1 two words\nutt-1 other words\nutt4\n")
    with (folder / "segments").open("a") as file:
        file.write("utt5 rec9 0.0 1.0\n")
    items = {item.id: item for item in kaldi_items(folder, allow_commands=True)}
    assert {name for name, item in items.items() if item.problem} == {"utt-1", "utt4", "utt5"}
    assert "text, line 2: there is no audio of utterance 'utt-1'" in items["utt-1"].problem
    assert "segments, line 4: recording 'rec9' is not in wav.scp" in items["utt5"].problem


def test_a_segment_beyond_the_end_is_left_out_by_name(folder):
    (folder / "segments").write_text("utt1 rec1 0.5 9.0\nutt2 rec1 3.0 -1\n")
    (folder / "utt2spk").unlink()
    for item in kaldi_items(folder, allow_commands=True):
        with pytest.raises(Skip, match=r"a.wav: lasts 2.000 s"):
            read_item(item)


@pytest.mark.parametrize("source", ["x" * 5000, "a\0b.wav"])
def test_sources_that_are_no_paths_are_left_out(tmp_path, source):
    (tmp_path / "wav.scp").write_text(f"rec1 {source}\n")
    (item,) = kaldi_items(tmp_path)
    with pytest.raises(Skip, match=r"too long|no path"):
        read_item(item)


def test_speaker_turns_are_those_of_the_utterance(folder):
    (folder / "rttm").write_text(
        ";; a comment\nSPKR-INFO rec1 1 <NA> <NA> <NA> unknown ann <NA>\n"
        "SPEAKER rec1 1 0.0 0.75 <NA> <NA> ann <NA> <NA>\n"
        "SPEAKER rec1 1 1.0 9.0 <NA> <NA> bob <NA> <NA>\n"
        "SPEAKER rec1 1 1.25 0.5 <NA> <NA> cid <NA> <NA>\n"
        "SPEAKER rec9 1 1.25 0.5 <NA> <NA> cid <NA> <NA>\n"
    )
    items = {item.id: item for item in kaldi_items(folder, allow_commands=True)}
    # utt1 is 0.5 to 1.25 s of rec1: what begins where it ends is not in it.
    assert items["utt1"].labels["turns"] == "0-0.25 ann|0.5-0.75 bob"
    assert "turns" not in items["utt2"].labels
    assert "rttm, line 6: recording 'rec9' is not in wav.scp" in items["rec9"].problem
    (folder / "segments").unlink()
    items = {item.id: item for item in kaldi_items(folder, allow_commands=True)}
    assert items["rec1"].labels["turns"] == "0-0.75 ann|1-10 bob|1.25-1.75 cid"


def test_a_line_that_is_no_turn_is_refused_with_what_one_is(tmp_path):
    for start, duration, name in (("-1", "1", "ann"), ("0", "0", "ann"), ("0", "1", "ann|bob")):
        line = f"SPEAKER rec1 1 {start} {duration} <NA> <NA> {name} <NA> <NA>\n"
        (tmp_path / "rttm").write_text(line)
        with pytest.raises(UserError, match=r"line 1: .* begins at 0 s or later and lasts longer"):
            read_rttm(tmp_path / "rttm")


def test_turns_are_those_of_lhotse(folder):
    lines = [
        f"SPEAKER rec1 1 {0.3 * n:.2f} {0.1 + 0.05 * n:.2f} <NA> <NA> s{n % 3} <NA> <NA>"
        for n in range(9)
    ]
    (folder / "rttm").write_text("\n".join(lines) + "\n")
    expected = [(s.speaker, s.start, s.duration) for s in SupervisionSet.from_rttm(folder / "rttm")]
    found = [(t.speaker, t.start, t.end - t.start) for t in read_rttm(folder / "rttm")["rec1"]]
    assert [name for name, *_ in found] == [name for name, *_ in expected]
    np.testing.assert_allclose([t[1:] for t in found], [t[1:] for t in expected], atol=1e-9)
