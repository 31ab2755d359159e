import numpy as np
import pytest
import soundfile

from audiossl.audio.listing import list_files
from audiossl.errors import UserError

RATE = 16_000


@pytest.fixture
def folder(tmp_path):
    noise = 0.1 * np.random.default_rng(0).normal(size=800)
    for name in ("b.wav", "deep/er/a.flac", "deep/c.ogg", ".hidden/x.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / name, noise, RATE)
    soundfile.write(tmp_path / "d.mp3", noise, RATE)
    (tmp_path / "d.mp3").rename(tmp_path / "d.music")
    (tmp_path / "notes.txt").write_text("RIFF raff")
    (tmp_path / "video.avi").write_bytes(b"RIFF\0\0\0\0AVI LIST")
    (tmp_path / "deep" / "again").symlink_to(tmp_path)
    return tmp_path


def names(paths, folder):
    return [str(path.relative_to(folder)) for path in list_files(paths)]


def test_a_folder_is_all_audio_in_it_told_by_name_or_content_each_file_once(folder):
    everything = ["b.wav", "d.music", "deep/c.ogg", "deep/er/a.flac"]
    assert names(folder, folder) == everything
    assert names(str(folder), folder) == everything
    assert names([folder / "deep" / "er", f"{folder}/*.wav"], folder) == ["deep/er/a.flac", "b.wav"]


def test_what_names_no_audio_is_refused(folder, tmp_path):
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match="empty: holds no audio files"):
        list_files(folder / "empty")
    with pytest.raises(UserError, match="matches no file"):
        list_files(f"{folder}/*.xyz")
    with pytest.raises(UserError, match="at least one path"):
        list_files([])


def test_brackets_in_the_name_of_a_file_are_no_pattern(folder):
    (folder / "take [1].wav").write_bytes((folder / "b.wav").read_bytes())
    assert names(folder / "take [1].wav", folder) == ["take [1].wav"]
