"""Files to clip vectors, from reading on, against loops over files."""

from copy import deepcopy

import librosa
import numpy as np
import pytest
import soundfile
import torch
from torch import nn
from transformers import Wav2Vec2Config, Wav2Vec2Model

from audiossl.models.efficientnet import EfficientNet, EfficientNetConfig
from audiossl.pretrained.embed import embed
from tests.benchmarks.rounds import compare

RATE = 16_000


def write(folder, durations):
    generator, paths = np.random.default_rng(0), []
    for number, duration in enumerate(durations):
        path = folder / f"{number:03}.wav"
        soundfile.write(path, 0.1 * generator.standard_normal(int(duration * RATE)), RATE)
        paths.append(path)
    return paths


def alone(network, waveform):
    with torch.inference_mode():
        return network(waveform[None], torch.tensor([len(waveform)])).clip[0]


def with_librosa(network, path):
    """Read and transform with librosa, and encode with the network."""
    samples, _ = librosa.load(path, sr=RATE)
    samples = samples / np.linalg.norm(samples)
    # librosa centers the window of 400 samples in the transform of 1024.
    spectra = librosa.stft(
        np.pad(samples, (312, 624)), n_fft=1024, hop_length=160, win_length=400, center=False
    )
    images = (network.front_end.bands.numpy().T @ np.abs(spectra)).clip(1e-5, 1e8)
    images = torch.from_numpy(np.log(images).T[None, : 1 + (len(samples) - 400) // 160])
    with torch.inference_mode():
        return network.encode_features(images, torch.tensor([images.shape[1]])).clip[0]


def with_soundfile(network, path):
    """Read with soundfile, and do the rest as we do, file by file."""
    return alone(network, torch.from_numpy(soundfile.read(path, dtype="float32")[0]))


@pytest.mark.parametrize(("one", "goal"), [(with_soundfile, 1.0), (with_librosa, 1.5)])
def test_files_of_many_lengths_by_a_narrow_network(tmp_path, one, goal):
    paths = write(tmp_path, np.random.default_rng(1).uniform(2.0, 10.0, 30))
    network = EfficientNet(EfficientNetConfig(width=0.5, depth=0.5)).eval()

    def one_by_one():
        return torch.stack([one(network, path) for path in paths])

    torch.testing.assert_close(embed(paths, network), one_by_one(), rtol=1e-3, atol=1e-4)
    peer = one.__name__.replace("_", " ")
    ratio = compare(
        f"embedding 30 files of 2 to 10 s, narrow EfficientNet, against a loop {peer}",
        lambda: embed(paths, network), one_by_one, rounds=5, goal=goal,
        floor="the network, the same in both, takes 0.7 to 0.9 of the time",
    )  # fmt: skip
    assert ratio > 0.85


def standardized(path):
    samples = torch.from_numpy(soundfile.read(path, dtype="float32")[0])
    return (samples - samples.mean()) / (samples.var(correction=0) + 1e-7).sqrt()


def test_files_of_many_lengths_by_wav2vec_2_base(tmp_path):
    from audiossl.teachers.huggingface import Wav2Vec2Teacher

    paths = write(tmp_path, [2.6, 3.0])
    peer = Wav2Vec2Model(Wav2Vec2Config()).eval()
    # A network that is taken over normalizes over lengths that are set from outside.
    ours = Wav2Vec2Teacher(deepcopy(peer), normalize=True).eval()

    def one_by_one():
        vectors = []
        with torch.inference_mode():
            for path in paths:
                vectors.append(peer(standardized(path)[None]).last_hidden_state[0].mean(dim=0))
        return torch.stack(vectors)

    torch.testing.assert_close(embed(paths, ours), one_by_one(), rtol=1e-3, atol=1e-3)
    ratio = compare(
        "embedding 2 files of 2.6 and 3 s, wav2vec 2.0 base, against transformers file by file",
        lambda: embed(paths, ours), one_by_one, rounds=3, goal=1.2,
        floor="the same network takes 0.98 of both",
    )  # fmt: skip
    assert ratio > 0.85


def test_a_long_file_among_short_ones(tmp_path):
    """Against batches that are padded to their longest, as examples of transformers write them."""
    from audiossl.teachers.huggingface import Wav2Vec2Teacher

    paths = write(tmp_path, [2.0, 1.5, 15.0, 1.0])
    narrow = Wav2Vec2Config(
        hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024,
        conv_dim=(128,) * 7, feat_extract_norm="layer", do_stable_layer_norm=True,
    )  # fmt: skip
    peer = Wav2Vec2Model(narrow).eval()
    ours = Wav2Vec2Teacher(deepcopy(peer), normalize=True).eval()

    def padded():
        clips = [standardized(path) for path in paths]
        lengths = torch.tensor([len(clip) for clip in clips])
        batch = nn.utils.rnn.pad_sequence(clips, batch_first=True)
        valid = torch.arange(batch.shape[1]) < lengths[:, None]
        with torch.inference_mode():
            frames = peer(batch, attention_mask=valid.long()).last_hidden_state
        counts = peer._get_feat_extract_output_lengths(lengths)
        return torch.stack([f[:n].mean(dim=0) for f, n in zip(frames, counts, strict=True)])

    torch.testing.assert_close(embed(paths, ours), padded(), rtol=1e-3, atol=1e-3)
    ratio = compare(
        "embedding 3 files of 1 to 2 s and one of 15 s, against a padded batch of transformers",
        lambda: embed(paths, ours), padded, rounds=3, goal=2.0,
    )  # fmt: skip
    assert ratio > 1
