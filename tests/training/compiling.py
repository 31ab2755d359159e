"""Train for three steps, plain and with compiled units; run as a program, without checks of shapes.

    python -m tests.training.compiling eager|inductor efficientnet|patch_transformer|zipformer

Prints the losses of both runs, and how many graphs were compiled, as JSON.
"""

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import torch
from torch._dynamo.utils import counters

from audiossl.configs import from_plain
from audiossl.methods.cola import Cola, ColaConfig
from audiossl.models.build import EncoderConfig, build_encoder
from audiossl.training import loop
from audiossl.training.compilation import compile_units
from audiossl.training.writers import read_metrics
from tests.training.test_gradient_cache import Source
from tests.training.toy import loop_config, place

ENCODERS = {
    "efficientnet": {"width": 0.25, "depth": 0.25},
    "patch_transformer": {"dim": 16, "layers": 2, "heads": 2},
    "zipformer": {
        "dim": 16, "feed_forward_dim": 32, "num_layers": [1, 1], "strides": [1, 2], "num_heads": 2,
        "kernel_sizes": [7, 7], "query_dim": 4, "position_dim": 8, "value_dim": 4,
        "unmasked_dim": 8,
    },
}  # fmt: skip


def losses(folder: Path, kind: str, backend: str | None) -> list[float]:
    """Train; return the loss of each step."""
    torch.manual_seed(0)
    encoder = build_encoder(from_plain(EncoderConfig, {"kind": kind, **ENCODERS[kind]}, "here"))
    method = Cola(encoder, ColaConfig(similarity="cosine", projection_dim=8, noise=0.0))
    config = loop_config(steps=3, compile=backend is not None)
    where = place(folder)
    every_step = replace(where, resources=replace(where.resources, log_every=1))
    with mock.patch.object(loop, "compile_units", partial(compile_units, backend=backend or "")):
        loop.train(method, Source(), config, every_step)
    return [line["loss"] for line in read_metrics(folder)]


if __name__ == "__main__":
    backend, kind = sys.argv[1:]
    with TemporaryDirectory() as folder:
        plain = losses(Path(folder) / "plain", kind, None)
        compiled = losses(Path(folder) / "compiled", kind, backend)
    graphs = counters["stats"]["unique_graphs"]
    sys.stdout.write(json.dumps({"plain": plain, "compiled": compiled, "graphs": graphs}))
