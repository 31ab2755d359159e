"""Compile a small Zipformer whole and compare; run as a program, without checks of shapes.

    python -m tests.models.zipformer.compiling eager|inductor

What is compiled, and how often, does not depend on what makes kernels of it: buckets are counted
with "eager", numbers compared with both.
"""

import sys
from dataclasses import replace

import torch
from torch import _dynamo

from audiossl.models.encoder import Context
from audiossl.models.zipformer.config import TINY
from audiossl.models.zipformer.model import Zipformer

CONFIG = replace(TINY, num_layers=(1, 1), strides=(1, 2), kernel_sizes=(31, 15))
BUCKETS = range(24, 24 + 8 * 8, 8)
ACTING, IDLE = 0, 1
"""Steps in which regularizers act, and in which they do not."""


def compiled(backend):
    _dynamo.reset()
    network = Zipformer(CONFIG).train()
    for part in (network.encoder_embed, network.encoder):
        part.compile(dynamic=False, fullgraph=True, backend=backend)
    return network


def outputs_and_gradients(network, size, step):
    network.zero_grad()
    generator = torch.Generator().manual_seed(step)
    inputs = torch.randn(2, size, 128, generator=torch.Generator().manual_seed(size))
    frames = network.encode_features(
        inputs, torch.tensor([size, size - 5]), Context(step, 6e7, generator)
    )
    frames.vectors.square().mean().backward()
    gradients = {n: p.grad.clone() for n, p in network.named_parameters() if p.requires_grad}
    return {"": frames.vectors.detach(), **gradients}


def numbers_are_those_of_the_plain_network(backend):
    network, plain = compiled(backend), Zipformer(CONFIG).train()
    plain.load_state_dict(network.state_dict())
    for step in (IDLE, ACTING):
        expected = outputs_and_gradients(plain, 40, step)
        for name, found in outputs_and_gradients(network, 40, step).items():
            size = float(expected[name].abs().max())
            torch.testing.assert_close(found, expected[name], atol=0.01 * size + 1e-7, rtol=0)


def eight_buckets_are_compiled_once(backend):
    network = compiled(backend)
    for size in BUCKETS:
        outputs_and_gradients(network, size, IDLE)
    _dynamo.config.error_on_recompile = True
    for step in (3, 5):
        for size in reversed(BUCKETS):
            outputs_and_gradients(network, size, step)


if __name__ == "__main__":
    torch.manual_seed(0)
    (chosen,) = sys.argv[1:]
    numbers_are_those_of_the_plain_network(chosen)
    if chosen == "eager":
        eight_buckets_are_compiled_once(chosen)
