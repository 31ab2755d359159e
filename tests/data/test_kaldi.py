import numpy as np
import pytest
import soundfile

from audiossl.data.kaldi import kaldi_items
from audiossl.data.reading import read_item
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
    (tmp_path / "utt2spk").write_text("utt1 ann\nutt2 bob\n")
    (tmp_path / "spk2gender").write_text("ann f\n")
    (tmp_path / "text").write_text("utt1 two words\n")
    return tmp_path


def test_segments_channels_and_labels(folder):
    first, second, _ = kaldi_items(folder)
    assert (first.id, first.recording, first.start, first.duration) == ("utt1", "rec1", 0.5, 0.75)
    assert first.labels == {"speaker": "ann", "text": "two words", "gender": "f"}
    expected = soundfile.read(folder / "a.wav", dtype="float32")[0][8000:20000, 1]
    np.testing.assert_array_equal(read_item(first).waveform, expected)
    assert (second.duration, second.channel) == (None, None)


def test_commands_are_run_and_their_failure_is_told(folder):
    _, second, third = kaldi_items(folder)
    whole = soundfile.read(folder / "a.wav", dtype="float32")[0].mean(1)
    np.testing.assert_allclose(read_item(second).waveform, whole[16000:], atol=1e-7)
    with pytest.raises(Skip, match=r"utt3: command failed with exit code 1 .*No such file"):
        read_item(third)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("segments", "utt1 rec1 0.5\n", "segments, line 1: expected '<utterance>"),
        ("segments", "utt1 rec9 0.5 1.0\n", "line 1: recording 'rec9' is not in wav.scp"),
        ("segments", "utt1 rec1 1.0 0.5\n", "from 1.0 s to 0.5 s is no segment"),
        ("segments", "utt1 rec1 a 0.5\n", "'a' is no time in seconds"),
        ("wav.scp", "", "wav.scp: empty"),
        ("utt2spk", "utt1 ann\nutt1 bob\n", "utt2spk, line 2: 'utt1' stands there a second time"),
    ],
)
def test_a_bad_line_is_named(folder, name, content, message):
    (folder / name).write_text(content)
    with pytest.raises(UserError) as caught:
        kaldi_items(folder)
    assert message in str(caught.value)
