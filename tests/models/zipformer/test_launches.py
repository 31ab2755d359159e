"""What the network asks of an accelerator must not grow unnoticed: it is what it is bound by."""

from dataclasses import replace

import pytest
import torch

from audiossl.models.encoder import Context
from audiossl.models.zipformer.config import BASE
from audiossl.models.zipformer.model import Zipformer
from tests.models.zipformer.launches import forward_and_backward

SECONDS, SEQUENCES = 15, 4


def work_of(machinery, step):
    """Of the base network on 60 s of audio, counted on a device that computes nothing."""
    with torch.device("meta"):
        network = Zipformer(replace(BASE, machinery=machinery)).train()
        features = torch.empty(SEQUENCES, 100 * SECONDS, 128)
        lengths = torch.full((SEQUENCES,), 100 * SECONDS)

    def encode(features, lengths):
        return network.encode_features(features, lengths, Context(step, 6e7)).vectors

    return forward_and_backward(encode, features, lengths)


@pytest.mark.parametrize(
    ("machinery", "step", "kernels", "gigabytes"),
    [
        (False, 1, (1140, 2100), (0.18, 0.335)),
        (True, 1, (1280, 2560), (0.19, 0.35)),
        (True, 0, (2350, 4830), (0.245, 0.635)),
    ],
    ids=["plain", "between_regularizers", "with_regularizers"],
)
def test_kernels_and_bytes_do_not_grow(machinery, step, kernels, gigabytes):
    passes = work_of(machinery, step)
    for name, work, most_kernels, most_bytes in zip(
        ("forward", "backward"), passes, kernels, gigabytes, strict=True
    ):
        per_second = work.bytes / 1e9 / (SECONDS * SEQUENCES)
        print(f"{name}: {work.kernels} kernels, {per_second:.3f} GB a second of audio in float32")
        assert work.kernels <= most_kernels
        assert per_second <= most_bytes
