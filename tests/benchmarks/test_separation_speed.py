"""Demucs over many clips: windows in batches here, `demucs.apply.apply_model` clip by clip there.

Both run the same network with random weights in this process, in turns; that the stems are equal is
asserted first. What is gained on a CPU is the windows that need not be computed (the last one ends
with its clip, where demucs takes another for the remainder); batches are for an accelerator.
"""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from demucs.apply import BagOfModels, apply_model

from audiossl.separation.demucs import Demucs
from audiossl.separation.recordings import separate_recordings
from tests.benchmarks.rounds import compare
from tests.separation.networks import SOURCES, small_htdemucs

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(scope="module")
def demucs() -> Iterator[Demucs]:
    # With more threads than free cores, waiting for each other is all that would be measured.
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Demucs(BagOfModels([small_htdemucs()]).eval(), device=DEVICE)
    torch.set_num_threads(num_threads)


def clips(num_samples: int, count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((count, 2, num_samples)).astype(np.float32) * 0.1
    return list(noise - noise.mean(axis=(1, 2), keepdims=True))


def ours(demucs: Demucs, mixtures: list[np.ndarray], batch_size: int) -> list[np.ndarray]:
    options = {"sample_rate": 44_100, "output_rate": 44_100, "batch_size": batch_size}
    found = separate_recordings(demucs, mixtures, **options)
    return [np.stack([stems[name] for name in SOURCES]) for stems in found]


def theirs(demucs: Demucs, mixtures: list[np.ndarray]) -> list[np.ndarray]:
    stems = []
    for mixture in mixtures:
        scale = mixture.mean(axis=0).std()
        scaled = torch.from_numpy(mixture)[None].to(DEVICE) / scale
        found = apply_model(demucs.bag, scaled, shifts=0, overlap=0.25)[0] * scale
        stems.append(found.mean(dim=1).cpu().numpy())
    return stems


# In windows of 7.8 s, which htdemucs has: clips of 7.8, 10 (egs/mini), 29.1 (MagnaTagATune), 30 s.
@pytest.mark.parametrize("length", [1.0, 1.28, 3.73, 3.85])
def test_clips_against_apply_model(demucs, length):
    hop = int(0.75 * demucs.window)
    # As many windows as fit: of such clips both compute the same ones, but for the last of demucs.
    equal = clips(demucs.window + hop, count=2)
    for found, expected in zip(ours(demucs, equal, 2), theirs(demucs, equal), strict=True):
        np.testing.assert_allclose(found[:, : 2 * hop], expected[:, : 2 * hop], atol=1e-4)

    batch_size = 1 if DEVICE == "cpu" else 8
    mixtures = clips(int(length * demucs.window), count=4)
    ratio = compare(
        f"separation of 4 clips of {length} windows, {DEVICE}, against demucs' apply_model",
        lambda: ours(demucs, mixtures, batch_size), lambda: theirs(demucs, mixtures), rounds=5,
        goal=1.2, floor="the same windows of the same network, but for the last of each clip",
    )  # fmt: skip
    assert ratio > 0.85
