"""Train for a few steps, plain and with compiled units; run as a program, without checks of shapes.

    python -m tests.training.compiling eager|inductor efficientnet|patch_transformer|zipformer
    python -m tests.training.compiling inductor efficientnet|patch_transformer|zipformer cuda PARTS

Prints the losses of both runs, and how many graphs were compiled, as JSON. On an accelerator there
is a third run, with CUDA graphs; inputs of those that were recorded are counted, and graphs that
were not.
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


def losses(
    folder: Path, kind: str, backend: str | None, device: str, **settings: object
) -> list[float]:
    """Train; return the loss of each step."""
    torch.manual_seed(0)
    encoder = build_encoder(from_plain(EncoderConfig, {"kind": kind, **ENCODERS[kind]}, "here"))
    method = Cola(encoder, ColaConfig(similarity="cosine", projection_dim=8, noise=0.0))
    config = loop_config(compile=backend is not None, **settings)
    where = place(folder)
    resources = replace(where.resources, log_every=1)
    every_step = replace(where, resources=resources, device=torch.device(device))
    with mock.patch.object(loop, "compile_units", partial(compile_units, backend=backend or "")):
        loop.train(method, Source(), config, every_step)
    return [line["loss"] for line in read_metrics(folder)]


def main(backend: str, kind: str, device: str = "cpu", parts: str = "1") -> None:
    """Train in every way."""
    # Products of fewer digits would differ by more than the order of sums.
    torch.backends.cudnn.allow_tf32 = False
    # A graph is recorded when it is run for the second time.
    settings = {"steps": 3 if device == "cpu" else 8, "accumulate": int(parts)}
    runs: dict[str, object] = {}
    with TemporaryDirectory() as folder:
        there = Path(folder)
        runs["plain"] = losses(there / "plain", kind, None, device, **settings)
        runs["compiled"] = losses(there / "compiled", kind, backend, device, **settings)
        runs["graphs"] = counters["stats"]["unique_graphs"]
        if device != "cpu":
            torch._dynamo.reset()
            runs["graphed"] = losses(
                there / "graphed", kind, backend, device, graphs=True, **settings
            )
            runs["recorded"] = counters["inductor"]["cudagraph_recorded_non_static_inputs"]
            runs["skipped"] = counters["inductor"]["cudagraph_skips"]
    sys.stdout.write(json.dumps(runs))


if __name__ == "__main__":
    main(*sys.argv[1:])
