"""Input against the model it feeds and a plain loader, plans of many cuts, imports and help."""

import json
import os
import subprocess
import sys
import time
from copy import deepcopy

import librosa
import numpy as np
import pytest
import soundfile
import torch
import torchaudio
from lhotse import CutSet, MonoCut, Recording
from lhotse.dataset import DynamicBucketingSampler
from torch.utils.data import DataLoader, Dataset

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

    ratio = compare(
        "read, crop, log-mel of 64 pairs, against the model's step", read, consume, goal=3.0
    )
    assert ratio >= 3.0


class Crops(Dataset):
    """Two random crops of one second of each file, as people write it."""

    def __init__(self, paths, read):
        self.paths, self.read = paths, read

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        samples = soundfile.info(self.paths[index]).frames
        starts = torch.randint(samples - 16_000, (2,)).tolist()
        crops = [self.read(self.paths[index], start) for start in starts]
        return torch.from_numpy(np.stack(crops))


def with_soundfile(path, start):
    return soundfile.read(path, start=start, frames=16_000, dtype="float32")[0]


def with_librosa(path, start):
    return librosa.load(path, sr=None, offset=start / 16_000, duration=1.0)[0]


@pytest.mark.parametrize("read", [with_soundfile, with_librosa])
def test_crops_and_log_mel_against_a_dataset(tmp_path, read):
    write_folder(tmp_path / "audio", [10.0] * 128)
    prepare(tmp_path / "audio", tmp_path / "corpus", shard_size=64)
    views = Views(
        Corpus(tmp_path / "corpus"), ViewsConfig(), PlanConfig(batch_size=64, num_buckets=1)
    )
    method = Cola(EfficientNet(EfficientNetConfig(width=0.5, depth=0.5)), ColaConfig())
    context = Context(0, 0.0, torch.Generator())
    mel = torchaudio.transforms.MelSpectrogram(16_000, 1024, 400, 160, n_mels=64, power=1)
    paths = sorted((tmp_path / "audio").glob("*.wav"))
    loader = DataLoader(Crops(paths, read), 64, shuffle=True)

    def ours():
        positions = views.plan.positions(Position())
        with torch.no_grad():
            for _ in range(2):
                method.features(views.load(next(positions)), context)

    def theirs():
        with torch.no_grad():
            for crops in loader:
                mel(crops.flatten(0, 1)).clamp(min=1e-5).log()

    ratio = compare(
        f"read, crop, log-mel of 128 pairs, against a DataLoader {read.__name__.replace('_', ' ')}",
        ours, theirs, goal=2.0, floor="log-mel of both is most of the time",
    )  # fmt: skip
    assert ratio > 0.85


def lhotse_sampler(count):
    """Make lhotse's sampler over cuts of 2 to 20 s."""
    durations = np.random.default_rng(0).uniform(2.0, 20.0, count).round(2).tolist()
    recordings = [
        Recording(f"{n}", [], 16_000, int(s * 16_000), s) for n, s in enumerate(durations)
    ]
    cuts = [MonoCut(r.id, 0.0, r.duration, 0, recording=r) for r in recordings]
    return DynamicBucketingSampler(
        CutSet.from_cuts(cuts), max_duration=200.0, num_buckets=10, shuffle=True
    )


def state_of_lhotse(count, share):
    """Stop in an epoch, after a share of it."""
    sampler = lhotse_sampler(count)
    for _ in sampler:
        if sampler.diagnostics.current_epoch_stats.total_cuts >= share * count:
            break
    return sampler.state_dict()


@pytest.mark.parametrize("share", [0.0, 0.9])
def test_plans_against_lhotse(share):
    """An epoch's batches from the first on, or from where a run stopped."""
    count = 20_000
    durations = np.random.default_rng(0).uniform(2.0, 20.0, count).round(2)
    samples = (16_000 * durations).astype(np.int64)
    state = state_of_lhotse(count, share)

    def ours():
        batches = Plan(samples, 16_000, PlanConfig(batch_duration=200.0)).epoch(0)
        return [batches.cuts(n) for n in range(int(share * len(batches)), len(batches))]

    def theirs():
        sampler = lhotse_sampler(count)
        if share:
            sampler.load_state_dict(deepcopy(state))
        return list(sampler)

    planned, sampled = sum(map(len, ours())), sum(map(len, theirs()))
    assert planned == pytest.approx((1 - share) * count, rel=0.05)
    assert sampled == pytest.approx((1 - share) * count, rel=0.05)
    what = "resumed at 90 %" if share else "planned"
    ratio = compare(
        f"epoch of {count} cuts, {what}, against lhotse", ours, theirs, rounds=3, goal=20.0
    )
    assert ratio > 1


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


@pytest.mark.parametrize(
    "words",
    [
        ["-c", "import audiossl"],
        ["-m", "audiossl", "--help"],
        ["-m", "recipes.cola.pretrain", "--help"],
        ["-m", "recipes.probe.fit", "--help"],
    ],
)
def test_imports_and_help_against_importing_torch(tmp_path_factory, words):
    # Compiled once, as what pip installs is, whatever a checkout and its environment do.
    compiled = tmp_path_factory.getbasetemp() / "compiled"
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment = {**kept, "PYTHONPYCACHEPREFIX": str(compiled)}

    def started(*words):
        return lambda: subprocess.run(
            [sys.executable, *words], check=True, stdout=subprocess.DEVNULL, env=environment
        )

    ratio = compare(
        f"python {' '.join(words)}, against import torch", started(*words),
        started("-c", "import torch"), rounds=3, goal=10.0,
        floor="help of a stage imports its settings, those of every method and encoder: some "
        "hundred modules of a few milliseconds, and no torch",
    )  # fmt: skip
    assert ratio > 1
