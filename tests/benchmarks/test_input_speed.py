"""The input pipeline against the model it feeds, and the front end against torchaudio's."""

import json
import subprocess
import sys
import time

import numpy as np
import torch
import torchaudio

from audiossl.data.corpus import Corpus
from audiossl.data.plan import Plan, PlanConfig, Position
from audiossl.data.views import Views, ViewsConfig
from audiossl.features.log_mel import LogMel, LogMelConfig
from audiossl.methods.cola import Cola, ColaConfig
from audiossl.models.efficientnet import EfficientNet, EfficientNetConfig
from tests.benchmarks.rounds import compare
from tests.data.corpora import prepare, write_folder


def test_log_mel_is_at_least_as_fast_as_torchaudios():
    torch.set_num_threads(1)  # what is shared with others would be measured too
    waveforms = torch.randn(64, 16_000)
    ours = LogMel(LogMelConfig())
    theirs = torchaudio.transforms.MelSpectrogram(
        16_000, n_fft=1024, win_length=400, hop_length=160, f_min=60, f_max=7800, n_mels=64,
        power=1, norm=None, mel_scale="htk", center=False,
    )  # fmt: skip
    ratio = compare(
        "log-mel of 64 x 1 s against torchaudio's MelSpectrogram and log",
        lambda: ours(waveforms),
        lambda: theirs(waveforms).clamp(1e-5).log(),
        rounds=31,
    )
    assert ratio >= 1.0


def test_reading_cropping_and_log_mel_outpace_the_model_three_times(tmp_path):
    """With the narrow network of the mini recipe, which is the hungriest."""
    write_folder(tmp_path / "audio", [10.0] * 128)
    prepare(tmp_path / "audio", tmp_path / "corpus", shard_size=64)
    views = Views(
        Corpus(tmp_path / "corpus"), ViewsConfig(), PlanConfig(batch_size=64, num_buckets=1)
    )
    encoder = EfficientNet(EfficientNetConfig(width=0.5, depth=0.5))
    method = Cola(encoder, ColaConfig())
    generator, positions = torch.Generator(), views.plan.positions(Position())
    images = method.images(views.load(Position()), generator)

    def read():
        with torch.no_grad():
            method.images(views.load(next(positions)), generator)

    def consume():
        anchors, positives = method.embed(images)
        method.similarity(anchors, positives).sum().backward()

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
