"""The input pipeline against the model it feeds, plans of many cuts, and how long imports take."""

import json
import subprocess
import sys
import time

import numpy as np
import torch

from audiossl.data.corpus import Corpus
from audiossl.data.plan import Plan, PlanConfig, Position
from audiossl.data.views import Views, ViewsConfig
from audiossl.methods.cola import Cola, ColaConfig
from audiossl.methods.method import Context
from audiossl.models.efficientnet import EfficientNet, EfficientNetConfig
from tests.benchmarks.rounds import compare
from tests.data.corpora import prepare, write_folder


def test_reading_cropping_and_log_mel_outpace_the_model_three_times(tmp_path):
    """With the narrow network of the mini recipe, which is the hungriest."""
    write_folder(tmp_path / "audio", [10.0] * 128)
    prepare(tmp_path / "audio", tmp_path / "corpus", shard_size=64)
    views = Views(
        Corpus(tmp_path / "corpus"), ViewsConfig(), PlanConfig(batch_size=64, num_buckets=1)
    )
    encoder = EfficientNet(EfficientNetConfig(width=0.5, depth=0.5))
    method = Cola(encoder, ColaConfig())
    context, positions = Context(0, 0.0, torch.Generator()), views.plan.positions(Position())
    images, lengths = method.features(views.load(Position()), context)

    def read():
        with torch.no_grad():
            method.features(views.load(next(positions)), context)

    def consume():
        vectors = method.projection(encoder.encode_features(images, lengths).clip)
        method.similarity(vectors[::2], vectors[1::2]).sum().backward()

    ratio = compare("read, crop, log-mel of 64 pairs against the model's step", read, consume)
    assert ratio >= 3.0


def test_a_million_cuts_are_planned_in_two_seconds():
    samples = np.random.default_rng(0).integers(16_000, 480_000, 1_000_000)
    started = time.perf_counter()
    plan = Plan(samples, 16_000, PlanConfig())
    batches = plan.epoch(0)
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    Plan(samples, 16_000, PlanConfig()).epoch(0).cuts(int(0.9 * len(batches)))
    again = time.perf_counter() - started
    held = sum(a.nbytes for a in (batches.order, batches.starts, batches.buckets, plan.bucket_of))
    figures = {"plan": seconds, "restart_at_90_percent": again, "bytes_a_cut": held / 1e6}
    print(json.dumps({"case": "plan of a million cuts", **figures}))
    assert seconds < 2.0
    assert again < 2.0


def test_importing_audiossl_takes_less_than_three_times_importing_torch():
    def imported(statement):
        return lambda: subprocess.run([sys.executable, "-c", statement], check=True)

    ours, torchs = imported("import audiossl"), imported("import torch")
    ratio = compare("import audiossl against import torch", ours, torchs, rounds=5)
    assert ratio > 1 / 3
