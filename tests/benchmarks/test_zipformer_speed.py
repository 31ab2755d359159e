"""The Zipformer against its public implementation and against plain transformers of its size."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from audiossl.models.zipformer.config import BASE
from audiossl.models.zipformer.model import Zipformer
from audiossl.models.zipformer.schedules import Progress
from tests.benchmarks import zipformer_peer
from tests.benchmarks.rounds import compare
from tests.models.zipformer.golden import features, fill
from tests.models.zipformer.launches import forward_and_backward

LATE = 1e5
"""Batches after which schedules have come to their end."""


@pytest.fixture(autouse=True)
def _two_threads():
    torch.set_num_threads(2)


def waveforms(seconds, batch=1):
    samples = int(16000 * seconds)
    return 0.1 * torch.randn(batch, samples), torch.full((batch,), samples)


@pytest.fixture(scope="module")
def pair():
    """Our network and the public one, with the same weights; both at 25 Hz."""
    config = replace(BASE, output_stride=2)
    ours, theirs = fill(Zipformer(config)), zipformer_peer.build(config).eval()
    print(theirs.load_state_dict(ours.state_dict()))
    return ours, theirs


def step_of(network, encode, inputs, lengths):
    def step():
        network.zero_grad()
        encode(inputs, lengths).square().mean().backward()

    return step


def test_forward_and_backward_are_at_least_1_2_times_as_fast_with_the_same_outputs(pair):
    ours, theirs = pair
    inputs, lengths = features()
    with torch.no_grad():
        found, (wanted, _) = ours.encode_features(inputs, lengths), theirs(inputs, lengths)
    difference = float((found.vectors - wanted).abs().max())
    print(f"largest difference of outputs {difference:.1e}, their size {float(wanted.std()):.2f}")
    assert difference < 1e-4
    inputs, lengths = 3 * torch.randn(2, 800, 128) - 6, torch.tensor([800, 700])
    own = step_of(ours, lambda x, n: ours.encode_features(x, n).vectors, inputs, lengths)
    its = step_of(theirs, lambda x, n: theirs(x, n)[0], inputs, lengths)
    ratio = compare("forward and backward, base, 2 x 8 s, same outputs", own, its, rounds=5)
    assert ratio >= 1.2


def test_kernels_are_fewer(pair):
    ours, theirs = pair
    inputs, lengths = 3 * torch.randn(1, 200, 128) - 6, torch.tensor([200])
    zipformer_peer.set_batch_count(theirs, LATE)
    encode = {
        "ours": lambda x, n: ours.encode_features(x, n, progress=Progress(1, LATE)).vectors,
        "theirs": lambda x, n: theirs(x, n)[0],
    }
    for mode in ("evaluation", "training"):
        counts = {}
        for name, network in (("ours", ours), ("theirs", theirs)):
            network.train(mode == "training")
            passes = forward_and_backward(encode[name], inputs, lengths)
            counts[name] = [work.kernels for work in passes]
            megabytes = [round(work.bytes / 1e6 / 2) for work in passes]
            print(f"{mode}, {name}: kernels {counts[name]}, MB a second of audio {megabytes}")
        assert counts["ours"][0] < counts["theirs"][0]
        assert counts["ours"][1] < counts["theirs"][1]
    ours.eval(), theirs.eval()


def test_30_seconds_are_encoded_at_least_as_fast_as_by_a_plain_transformer_of_94_m():
    network = Zipformer(BASE).eval()
    inputs, lengths = torch.randn(1, 3007, 128), torch.tensor([3007])
    # As wav2vec 2.0's base network behind its front end: 12 layers of width 768.
    layer = nn.TransformerEncoderLayer(
        768, 12, 3072, dropout=0.0, activation="gelu", batch_first=True
    )
    plain = nn.TransformerEncoder(layer, 12).eval()
    frames = torch.randn(1, 1500, 768)
    with torch.inference_mode():
        assert network.encode_features(inputs, lengths).vectors.shape[1] == frames.shape[1]
        ratio = compare(
            "30 s of frames at 50 Hz, base against torch's transformer encoder of 85 M",
            lambda: network.encode_features(inputs, lengths),
            lambda: plain(frames),
            rounds=5,
        )
    assert ratio >= 1.0


def test_waveforms_are_encoded_at_least_2_5_times_as_fast_as_by_wav2vec_2_base():
    transformers = pytest.importorskip("transformers")
    network = Zipformer(BASE).eval()
    peer = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config()).eval()
    for seconds in (10, 30):
        batch, lengths = waveforms(seconds)
        with torch.inference_mode():
            ratio = compare(
                f"{seconds} s from waveform to frames, base against transformers' Wav2Vec2 base",
                lambda: network(batch, lengths),  # noqa: B023 - called in this round
                lambda: peer(batch),  # noqa: B023
                rounds=5,
            )
        assert ratio >= 2.5
