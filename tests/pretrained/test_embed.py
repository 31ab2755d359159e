from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import audiossl
from audiossl.audio.listing import list_files
from audiossl.errors import Skip, UserError
from audiossl.models.batching import Batching, encode_all
from audiossl.pretrained.embed import embed_files
from tests.models.encoders import Windows

RATE = 16_000


@pytest.fixture
def clips(tmp_path) -> Path:
    generator = np.random.default_rng(0)
    for name, seconds in (("a", 1.0), ("b", 7.3), ("c", 0.4)):
        wave = 0.1 * generator.normal(size=int(seconds * RATE))
        soundfile.write(tmp_path / f"{name}.wav", wave, RATE, subtype="FLOAT")
    return tmp_path


def alone(path):
    waveform = torch.from_numpy(soundfile.read(path, dtype="float32")[0])[None]
    with torch.inference_mode():
        return Windows()(waveform, torch.tensor([waveform.shape[1]]))


def test_a_file_is_what_the_encoder_says_of_it(clips):
    found = audiossl.embed([clips / "a.wav", clips / "c.wav"], Windows())
    for row, name in zip(found, "ac", strict=True):
        torch.testing.assert_close(row, alone(clips / f"{name}.wav").clip[0])


@pytest.mark.parametrize("chunk", [0.5, 1.7, 3.0, 30.0])
def test_chunks_of_a_long_file_add_up_to_the_whole(clips, chunk):
    whole = alone(clips / "b.wav")
    clip = audiossl.embed(clips / "b.wav", Windows(), chunk=chunk)
    torch.testing.assert_close(clip[0], whole.clip[0], rtol=1e-4, atol=1e-4)
    frames = embed_files(clips / "b.wav", Windows(), frames=True, chunk=chunk)
    torch.testing.assert_close(frames.values[0], whole.vectors[0], rtol=1e-4, atol=1e-5)
    assert frames.frame_rate == 100.0


def test_any_rate_and_number_of_channels_is_heard(tmp_path):
    time = np.arange(48_000) / 48_000
    tone = 0.3 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / "high.flac", np.stack([tone, tone], axis=1), 48_000)
    soundfile.write(tmp_path / "low.wav", tone[::3], RATE)
    soundfile.write(tmp_path / "coded.mp3", tone, 48_000)
    high, low, coded = audiossl.embed(
        [tmp_path / name for name in ("high.flac", "low.wav", "coded.mp3")], "log-mel:"
    )
    assert torch.nn.functional.cosine_similarity(high, low, dim=0) > 0.98
    assert torch.nn.functional.cosine_similarity(high, coded, dim=0) > 0.9


def test_one_argument_is_enough(clips):
    found = audiossl.embed(str(clips / "a.wav"))
    assert found.shape == (1, 1392)
    torch.testing.assert_close(found, audiossl.embed(clips / "a.wav", "audiossl:small"))


def test_patterns_are_sorted_and_must_match(clips):
    assert [path.name for path in list_files(str(clips / "*.wav"))] == ["a.wav", "b.wav", "c.wav"]
    with pytest.raises(UserError, match="matches no file"):
        audiossl.embed(str(clips / "*.mp3"))
    with pytest.raises(UserError, match="at least one path"):
        audiossl.embed([])


def test_a_file_that_cannot_be_read_is_named_or_left_out(clips):
    (clips / "bad.wav").write_bytes(b"RIFF nothing")
    paths = [clips / "a.wav", clips / "bad.wav", clips / "c.wav"]
    with pytest.raises(UserError, match=r"bad\.wav"):
        audiossl.embed(paths)
    skipped: list[Skip] = []
    found = embed_files(paths, "log-mel:", on_skip=skipped.append)
    assert [path.name for path in found.paths] == ["a.wav", "c.wav"]
    assert "bad.wav" in str(skipped[0])
    with pytest.raises(UserError, match=r"bad\.wav: not audio"):
        embed_files(clips / "bad.wav", "log-mel:", on_skip=skipped.append)
    with pytest.raises(UserError, match=r"none of the files can be read: .*bad\.wav"):
        embed_files([clips / "bad.wav"] * 2, "log-mel:", on_skip=skipped.append)


@pytest.mark.parametrize("encoder", ["mfcc:", "ge2e:", "log_mel:"])
def test_a_file_shorter_than_a_frame_is_named_and_never_a_vector_of_zeros(clips, encoder):
    soundfile.write(clips / "short.wav", 0.1 * np.ones(150), RATE)
    paths = [clips / "short.wav", clips / "a.wav"]
    with pytest.raises(Skip, match=r"short\.wav: shorter than one frame of its encoder"):
        audiossl.embed(paths, encoder)
    skipped: list[Skip] = []
    found = embed_files(paths, encoder, on_skip=skipped.append)
    assert [path.name for path in found.paths] == ["a.wav"]
    assert len(skipped) == 1
    frames = embed_files(paths, encoder, frames=True, on_skip=skipped.append)
    assert [path.name for path in frames.paths] == ["a.wav"]


def test_a_file_that_breaks_off_leaves_its_neighbors_whole(clips, monkeypatch):
    # Files are read ahead of what is encoded: here a file is dropped while another is half done.
    a_second = partial(encode_all, batching=Batching(ahead_seconds=1.0))
    monkeypatch.setattr("audiossl.pretrained.embed.encode_all", a_second)
    (clips / "bad.wav").write_bytes(b"RIFF nothing")
    skipped: list[Skip] = []
    paths = [clips / name for name in ("b.wav", "bad.wav", "a.wav")]
    found = embed_files(paths, Windows(), chunk=0.9, on_skip=skipped.append)
    assert [path.name for path in found.paths] == ["b.wav", "a.wav"]
    torch.testing.assert_close(
        found.values[0], alone(clips / "b.wav").clip[0], rtol=1e-3, atol=1e-3
    )


def test_a_device_that_is_not_there_is_refused(clips):
    with pytest.raises(UserError, match="expected auto, cpu"):
        audiossl.embed(clips / "a.wav", device="qpu")
