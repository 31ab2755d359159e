"""Files to clip vectors, from reading on, against loops over files."""

import librosa
import numpy as np
import pytest
import soundfile
import torch
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


@pytest.mark.parametrize("reader", ["soundfile", "librosa"])
def test_files_of_many_lengths_by_a_narrow_network(tmp_path, reader):
    paths = write(tmp_path, np.random.default_rng(1).uniform(2.0, 10.0, 30))
    network = EfficientNet(EfficientNetConfig(width=0.5, depth=0.5)).eval()

    def one_by_one():
        vectors = []
        for path in paths:
            if reader == "soundfile":
                samples = soundfile.read(path, dtype="float32")[0]
            else:
                samples = librosa.load(path, sr=RATE)[0]
            vectors.append(alone(network, torch.from_numpy(samples)))
        return torch.stack(vectors)

    torch.testing.assert_close(embed(paths, network), one_by_one(), rtol=1e-3, atol=1e-4)
    ratio = compare(
        f"embedding 30 files of 2 to 10 s, narrow EfficientNet, against a loop with {reader}",
        lambda: embed(paths, network), one_by_one, rounds=5,
        goal=1.5 if reader == "librosa" else 1.0,
        floor="the network, the same in both, takes 0.9 of the time; the rest reads files of any "
        "kind, and checks them",
    )  # fmt: skip
    assert ratio > 0.85


def test_files_of_many_lengths_by_wav2vec_2_base(tmp_path):
    from audiossl.teachers.huggingface import Wav2Vec2Teacher

    paths = write(tmp_path, [2.6, 3.0, 2.8, 4.0])
    peer = Wav2Vec2Model(Wav2Vec2Config()).eval()
    ours = Wav2Vec2Teacher(peer, normalize=True).eval()

    def one_by_one():
        vectors = []
        with torch.inference_mode():
            for path in paths:
                samples = torch.from_numpy(soundfile.read(path, dtype="float32")[0])
                samples = (samples - samples.mean()) / (samples.var(correction=0) + 1e-7).sqrt()
                vectors.append(peer(samples[None]).last_hidden_state[0].mean(dim=0))
        return torch.stack(vectors)

    torch.testing.assert_close(embed(paths, ours), one_by_one(), rtol=1e-3, atol=1e-3)
    ratio = compare(
        "embedding 4 files of 2.6 to 4 s, wav2vec 2.0 base, against transformers file by file",
        lambda: embed(paths, ours), one_by_one, rounds=5, goal=1.2,
        floor="the same network takes 0.98 of both",
    )  # fmt: skip
    assert ratio > 0.85
