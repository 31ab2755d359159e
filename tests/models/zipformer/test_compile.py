"""Compiled whole, without a break, the network computes the same and is compiled once a bucket."""

from dataclasses import replace

import jaxtyping
import pytest
import torch
from torch import _dynamo

from audiossl.models.zipformer.config import TINY
from audiossl.models.zipformer.model import Zipformer
from audiossl.models.zipformer.schedules import Progress

CONFIG = replace(TINY, num_layers=(1, 1), strides=(1, 2), kernel_sizes=(31, 15))
BUCKETS = range(24, 24 + 8 * 8, 8)

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    # Checks of shapes are no part of the graph.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    _dynamo.reset()
    yield
    _dynamo.reset()


def compiled():
    network = Zipformer(CONFIG).train()
    for part in (network.encoder_embed, network.encoder):
        part.compile(dynamic=False, fullgraph=True, backend="eager")
    return network


def gradients(network, size, step):
    network.zero_grad()
    generator = torch.Generator().manual_seed(step)
    inputs = torch.randn(2, size, 128, generator=torch.Generator().manual_seed(size))
    frames = network.encode_features(
        inputs, torch.tensor([size, size - 5]), progress=Progress(step, 1e5), generator=generator
    )
    frames.vectors.square().mean().backward()
    return {n: p.grad.clone() for n, p in network.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("step", [0, 1], ids=["with_regularizers", "between_them"])
def test_gradients_are_those_of_the_plain_network(step):
    network, plain = compiled(), Zipformer(CONFIG).train()
    plain.load_state_dict(network.state_dict())
    expected = gradients(plain, 40, step)
    for name, found in gradients(network, 40, step).items():
        size = float(expected[name].abs().max())
        torch.testing.assert_close(found, expected[name], atol=0.01 * size + 1e-7, rtol=0)


def test_eight_buckets_are_compiled_once(monkeypatch):
    network = compiled()
    for size in BUCKETS:
        gradients(network, size, 1)
    monkeypatch.setattr(_dynamo.config, "error_on_recompile", True)
    for step in (3, 5):
        for size in reversed(BUCKETS):
            gradients(network, size, step)
