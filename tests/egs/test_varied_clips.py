"""Varied clips are new audio, of the training split alone, under the labels of what they were."""

import csv

import numpy as np
import pytest
import soundfile

from audiossl.audio.files import audio_info, read_waveform
from egs.debian_packages.local.vary import main

RATE = 16_000
COLUMNS = ("path", "domain", "split", "group", "package", "licence", "collection")


def _noise(path, seed, seconds):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    soundfile.write(path, noise, RATE)


def _tone(path, hertz, seconds):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(
        path, 0.1 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE), RATE
    )


def _varied(folder, rows):
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([path, domain, split, path, "p", "l", "c"] for path, domain, split in rows)
    main(folder)
    with (folder / "varied.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_training_sounds_are_varied_and_nothing_else(tmp_path):
    files = {"bell.wav": 1.0, "click.wav": 0.05, "song.wav": 0.6, "door.wav": 1.0}
    for seed, (name, seconds) in enumerate(files.items()):
        _noise(tmp_path / name, seed, seconds)
    rows = _varied(
        tmp_path,
        [
            ("bell.wav", "sounds", "train"), ("click.wav", "sounds", "train"),
            ("song.wav", "music", "train"), ("door.wav", "sounds", "test"),
        ],
    )  # fmt: skip
    seconds = {row["path"]: audio_info(tmp_path / row["path"]).duration for row in rows}
    assert {path.rpartition("-")[2]: round(value, 2) for path, value in seconds.items()} == {
        "slow.flac": 1.25, "fast.flac": 0.8, "sound.flac": 1.0, "music.flac": 1.0,
    }  # fmt: skip
    assert {(row["group"], row["domain"], row["split"]) for row in rows} == {
        ("bell.wav", "sounds", "train")
    }
    # What is added to it is as loud as it, within ten decibels.
    bell, mixed = (
        read_waveform(tmp_path / name) for name in ("bell.wav", "varied/sounds-00000-music.flac")
    )
    share = mixed @ bell / (bell @ bell)
    decibels = 20 * np.log10((mixed - share * bell).std() / (share * bell).std())
    assert abs(decibels) < 10.5


def test_a_stem_alone_has_its_pitch_times_a_speed_and_a_remix_has_two_songs(tmp_path):
    """Each excerpt is one tone in two stems, so that pitch says what was taken and how fast."""
    hertz = {"one": 400.0, "two": 1000.0, "unseen": 3000.0}
    for song, frequency in hertz.items():
        for stem in ("bass", "lead"):
            _tone(tmp_path / song / f"{stem}.flac", frequency, 5.0)
    rows = _varied(
        tmp_path,
        [("one", "music", "train"), ("two", "music", "train"), ("unseen", "music", "test")],
    )
    assert {row["group"] for row in rows} == {"one", "two"}
    assert {row["collection"] for row in rows} == {"c"}
    for row in rows:
        waveform = read_waveform(tmp_path / row["path"])
        spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
        peaks = np.flatnonzero(spectrum > 0.05 * spectrum.max()) * RATE / len(waveform)
        if row["path"].endswith("alone.flac"):
            ratio = peaks.mean() / hertz[row["group"]]
            assert min(abs(ratio - speed) for speed in (0.8, 1.0, 1.25)) < 0.01
            assert len(waveform) == pytest.approx(4 * RATE / ratio, rel=0.01)
        else:
            assert {round(peak, -2) for peak in peaks} <= {400, 1000}
            assert np.abs(peaks - hertz[row["group"]]).min() < 5
            assert len(waveform) == 4 * RATE


def test_half_of_speech_is_played_at_another_speed(tmp_path):
    names = [f"{number}.wav" for number in range(40)]
    for number, name in enumerate(names):
        _noise(tmp_path / name, number, 1.0)
    rows = _varied(tmp_path, [(name, "speech", "train") for name in names])
    assert 10 <= len(rows) <= 30
    durations = {round(audio_info(tmp_path / row["path"]).duration, 2) for row in rows}
    assert durations == {round(1 / 0.85, 2), round(1 / 1.18, 2)}


def test_speech_too_short_to_be_encoded_is_left_as_it_is(tmp_path):
    """Fewer than 0.1 s, of which half would be drawn."""
    names = [f"{number}.wav" for number in range(10)]
    for number, name in enumerate(names):
        _noise(tmp_path / name, number, 0.05)
    _noise(tmp_path / "bell.wav", 0, 1.0)
    rows = _varied(
        tmp_path, [("bell.wav", "sounds", "train")] + [(name, "speech", "train") for name in names]
    )
    assert {row["domain"] for row in rows} == {"sounds"}


def test_a_folder_that_is_no_corpus_is_refused_in_a_line(tmp_path):
    with pytest.raises(SystemExit, match=r"no labels.csv in it: .*collect"):
        main(tmp_path)
