"""The Zipformer against its public implementation and against plain transformers of its size."""

import statistics
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import pytest
import torch
import torchaudio
from torch import nn

from audiossl.models.encoder import Context
from audiossl.models.zipformer.config import BASE
from audiossl.models.zipformer.model import Zipformer
from audiossl.models.zipformer.training.regularizers import period
from audiossl.models.zipformer.training.schedules import Progress
from tests.benchmarks import zipformer_peer
from tests.benchmarks.rounds import compare
from tests.models.zipformer.golden import features, fill
from tests.models.zipformer.launches import forward_and_backward

PRODUCTS = (
    "matrix products, the same in both, are 0.71 of our time: without anything else the ratio "
    "would be 1.4 times as large"
)
LATE = 1e5
"""Batches after which schedules have come to their end."""


def waveforms(seconds, batch=1):
    samples = int(16000 * seconds)
    return 0.1 * torch.randn(batch, samples), torch.full((batch,), samples)


@pytest.fixture(scope="module")
def pair():
    """Our network and the public one without regularizers, with the same weights; both at 25 Hz."""
    config = replace(BASE, output_stride=2, machinery=False)
    ours, theirs = fill(Zipformer(config)), zipformer_peer.build(config).eval()
    print(theirs.load_state_dict(ours.state_dict()))
    return ours, zipformer_peer.silence(theirs)


def ours_of(network, **keywords):
    return lambda inputs, lengths: network.encode_features(inputs, lengths, **keywords).vectors


def theirs_of(network):
    return lambda inputs, lengths: network(inputs, lengths)[0]


def step_of(network, encode, inputs, lengths):
    weights = [weight for weight in network.parameters() if weight.requires_grad]

    def step():
        loss = encode(inputs, lengths).square().mean()
        return torch.autograd.grad(loss, weights, allow_unused=True)

    return step


def test_outputs_and_gradients_are_the_same(pair):
    ours, theirs = pair
    inputs, lengths = features()
    with torch.no_grad():
        found, wanted = ours_of(ours)(inputs, lengths), theirs_of(theirs)(inputs, lengths)
    difference = float((found - wanted).abs().max())
    print(f"largest difference of outputs {difference:.1e}, their size {float(wanted.std()):.2f}")
    assert difference < 1e-4
    own, its = (
        gradients(network, encode(network), inputs, lengths)
        for network, encode in ((ours, ours_of), (theirs, theirs_of))
    )
    assert own.keys() == its.keys()
    errors = {n: float((own[n] - its[n]).norm() / its[n].norm()) for n in its}
    worst = max(errors, key=errors.__getitem__)
    print(f"largest relative difference of gradients {errors[worst]:.1e}, of {worst}")
    assert errors[worst] < 1e-2


def gradients(network, encode, inputs, lengths):
    """Gradients of the parameters that have one, by name."""
    names = [name for name, weight in network.named_parameters() if weight.requires_grad]
    found = step_of(network, encode, inputs, lengths)()
    return {n: g for n, g in zip(names, found, strict=True) if g is not None}


def test_forward_and_backward_with_the_same_outputs(pair):
    """Against the package as it comes, whose regularizers change gradients in evaluation, too."""
    ours, _ = pair
    theirs = zipformer_peer.build(ours.config).eval()
    theirs.load_state_dict(ours.state_dict())
    inputs, lengths = 3 * torch.randn(2, 800, 128) - 6, torch.tensor([800, 700])
    own, its = (
        step_of(network, encode(network), inputs, lengths)
        for network, encode in ((ours, ours_of), (theirs, theirs_of))
    )
    ratio = compare(
        "Zipformer base, forward and backward, 2 x 8 s, against PyPI zipformer", own, its,
        rounds=3, goal=1.3, floor=PRODUCTS,
    )  # fmt: skip
    assert ratio > 0.9


def test_forward_and_backward_where_gradients_are_the_same(pair):
    """Against the package without what acts by chance."""
    ours, theirs = pair
    # Of 4 s, a larger part is what both do alike: reading weights, writing their gradients.
    for batch, seconds in ((1, 4), (2, 8)):
        inputs = 3 * torch.randn(batch, 100 * seconds, 128) - 6
        lengths = torch.full((batch,), 100 * seconds)
        ratio = compare(
            f"Zipformer base, the same without regularizers, {batch} x {seconds} s",
            step_of(ours, ours_of(ours), inputs, lengths),
            step_of(theirs, theirs_of(theirs), inputs, lengths),
            rounds=3, goal=1.3, floor=PRODUCTS,
        )  # fmt: skip
        assert ratio > 0.9


def test_training_steps():
    """Late in training, each with all of its machinery, which the two draw differently."""
    config = replace(BASE, output_stride=2)
    ours, theirs = fill(Zipformer(config)).train(), zipformer_peer.build(config)
    theirs.load_state_dict(ours.state_dict())
    zipformer_peer.set_batch_count(theirs.train(), LATE)
    inputs, lengths = 3 * torch.randn(1, 400, 128) - 6, torch.tensor([400])

    def own():
        # As many steps as there are from one with regularizers to the next.
        for step in range(period(Progress(0, LATE))):
            step_of(ours, ours_of(ours, context=Context(step, 600 * LATE)), inputs, lengths)()

    def its():
        for _ in range(period(Progress(0, LATE))):
            step_of(theirs, theirs_of(theirs), inputs, lengths)()

    ratio = compare(
        "Zipformer base, 8 training steps of 1 x 4 s, against PyPI zipformer", own, its,
        rounds=3, goal=1.3, floor=PRODUCTS,
    )  # fmt: skip
    assert ratio > 0.9


@pytest.mark.parametrize("mode", ["plain", "training"])
def test_kernels_are_fewer(mode):
    config = replace(BASE, output_stride=2, machinery=mode == "training")
    theirs = zipformer_peer.build(config).train(mode == "training")
    zipformer_peer.set_batch_count(theirs, LATE)
    if mode == "plain":
        zipformer_peer.silence(theirs)
    its = kernels_of(f"{mode}, theirs", theirs_of(theirs))
    # Ours are those of an accelerator: on a CPU, several that stay in a cache replace a slow one.
    # Theirs are the same everywhere, as nothing is compiled on either side.
    with torch.device("meta"):
        ours, own = Zipformer(config).train(), []
        for step in range(period(Progress(0, LATE)) if mode == "training" else 1):
            ours.zero_grad()
            encode = ours_of(ours, context=Context(step, 600 * LATE))
            own.append(kernels_of(f"{mode}, ours, step {step}", encode))
    means = [statistics.mean(counts) for counts in zip(*own, strict=True)]
    print(f"{mode}, ours, mean of {len(own)} steps: kernels {means}")
    assert means[0] < its[0]
    assert means[1] < its[1]


def kernels_of(name, encode, seconds=4):
    """Print and return kernels of forward and backward, on the device that is the default."""
    inputs, lengths = torch.zeros(1, 100 * seconds, 128), torch.full((1,), 100 * seconds)
    passes = forward_and_backward(encode, inputs, lengths)
    kernels = [work.kernels for work in passes]
    megabytes = [round(work.bytes / 1e6 / seconds) for work in passes]
    print(f"{name}: kernels {kernels}, MB a second of audio {megabytes}")
    return kernels


def plain_transformer():
    """Make wav2vec 2.0's base network behind its front end: 12 layers of width 768, 85 M."""
    layer = nn.TransformerEncoderLayer(
        768, 12, 3072, dropout=0.0, activation="gelu", batch_first=True
    )
    return nn.TransformerEncoder(layer, 12).eval(), (torch.randn(1, 1500, 768),)


def conformer():
    """Make a Conformer of as many weights: 14 layers of width 512, 85 M."""
    frames, lengths = torch.randn(1, 1500, 512), torch.tensor([1500])
    return torchaudio.models.Conformer(512, 8, 2048, 14, 31).eval(), (frames, lengths)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("torch's Transformer encoder of 85 M", plain_transformer),
        ("torchaudio's Conformer of 85 M", conformer),
    ],
)
def test_30_seconds_are_encoded_at_least_as_fast_as_by_others_of_its_size(name, make):
    network, (peer, arguments) = Zipformer(BASE).eval(), make()
    inputs, lengths = torch.randn(1, 3007, 128), torch.tensor([3007])
    with torch.inference_mode():
        assert network.encode_features(inputs, lengths).vectors.shape[1] == arguments[0].shape[1]
        ratio = compare(
            f"Zipformer base, 30 s of frames at 50 Hz, against {name}",
            lambda: network.encode_features(inputs, lengths),
            lambda: peer(*arguments),
            rounds=3,
        )
    assert ratio >= 1.0


def test_waveforms_are_encoded_at_least_2_5_times_as_fast_as_by_wav2vec_2_base():
    pytest.importorskip("transformers")
    # What a process has allocated and freed before decides how dear memory is to both.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        assert fresh.submit(against_wav2vec_2_base).result() >= 2.5


def against_wav2vec_2_base(seconds=10):
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    torch.set_num_threads(1)
    network, peer = Zipformer(BASE).eval(), Wav2Vec2Model(Wav2Vec2Config()).eval()
    batch, lengths = waveforms(seconds)
    with torch.inference_mode():
        return compare(
            f"Zipformer base, {seconds} s of waveform to frames, against transformers' Wav2Vec2",
            lambda: network(batch, lengths),
            lambda: peer(batch),
            rounds=3,
            goal=2.5,
        )
