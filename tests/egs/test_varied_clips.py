"""Varied sounds are new audio, of the training split alone, under the labels of what they were."""

import csv

import numpy as np
import soundfile

from audiossl.audio.files import audio_info, read_waveform
from egs.debian_packages.local.vary import main


def _corpus(folder, rows):
    folder.mkdir()
    for number, (path, *_, seconds) in enumerate(rows):
        noise = np.random.default_rng(number).standard_normal(round(seconds * 16_000))
        soundfile.write(folder / path, 0.1 * noise, 16_000)
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "domain", "split", "group", "package", "licence"])
        writer.writerows([path, domain, split, path, "p", "l"] for path, domain, split, _ in rows)
    return folder


def test_training_sounds_are_varied_and_nothing_else(tmp_path):
    corpus = _corpus(
        tmp_path / "corpus",
        [
            ("bell.wav", "sounds", "train", 1.0), ("click.wav", "sounds", "train", 0.05),
            ("song.wav", "music", "train", 0.6), ("door.wav", "sounds", "test", 1.0),
        ],
    )  # fmt: skip
    main(corpus)
    with (corpus / "varied.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    seconds = {row["path"]: audio_info(corpus / row["path"]).duration for row in rows}
    assert {path.rpartition("-")[2]: round(value, 2) for path, value in seconds.items()} == {
        "slow.flac": 1.25, "fast.flac": 0.8, "sound.flac": 1.0, "music.flac": 1.0,
    }  # fmt: skip
    assert {(row["group"], row["domain"], row["split"]) for row in rows} == {
        ("bell.wav", "sounds", "train")
    }
    # What is added to it is as loud as it, within ten decibels.
    bell, mixed = (read_waveform(corpus / name) for name in ("bell.wav", "varied/00000-music.flac"))
    share = mixed @ bell / (bell @ bell)
    decibels = 20 * np.log10((mixed - share * bell).std() / (share * bell).std())
    assert abs(decibels) < 10.5
