"""Demucs over many clips: windows in batches here, clip by clip in demucs.

Both run the same network with random weights in this process, in turns; that the stems are equal is
asserted first. What is gained on a CPU is the windows that need not be computed (the last one ends
with its clip, where demucs takes another for the remainder); batches are for an accelerator.
"""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
import soundfile
import torch
from demucs.apply import BagOfModels, apply_model

from audiossl.audio.files import read_audio
from audiossl.data.corpus import Corpus
from audiossl.separation.demucs import Demucs
from audiossl.separation.recordings import separate_recordings
from tests.benchmarks.processes import run
from tests.benchmarks.rounds import compare, record
from tests.separation.networks import SOURCES, package, small_htdemucs

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
        lambda: ours(demucs, mixtures, batch_size), lambda: theirs(demucs, mixtures), rounds=3,
        goal=1.2, floor="the same windows of the same network, but for the last of each clip",
    )  # fmt: skip
    assert ratio > 0.85


def test_the_stage_against_the_command_line_of_demucs(tmp_path):
    """Whole processes, from files to stems on disk; theirs in stereo at 44.1 kHz, as it has them.

    A small network, so that reading, resampling and writing show.
    """
    (tmp_path / "weights").mkdir()
    torch.save(package(small_htdemucs(segment=Fraction(39, 5))), tmp_path / "weights/955717e8.th")
    (tmp_path / "weights/small.yaml").write_text("models: ['955717e8']")
    audio, cuts = tmp_path / "audio", tmp_path / "cuts"
    audio.mkdir()
    for number, clip in enumerate(clips(30 * 44_100, count=2)):
        soundfile.write(audio / f"{number}.wav", clip.T, 44_100)
    log = tmp_path / "log.txt"
    run(log, "recipes.prepare.folder", "--folder", audio, "--output", cuts)
    config = f"{{kind: demucs, name: small, folder: {tmp_path / 'weights'}}}"
    rows = []
    for number in range(2):
        mine = run(
            log, "recipes.source_association.separate", "--cuts", cuts, "--originals", audio,
            "--separator", config, "--resources.device", "cpu", "--output", tmp_path / f"{number}",
        )  # fmt: skip
        theirs = run(
            log, "demucs.separate", "-n", "small", "--repo", tmp_path / "weights", "--shifts", "0",
            "-d", "cpu", "-o", tmp_path / "theirs", *sorted(audio.iterdir()),
        )  # fmt: skip
        rows.append((mine[0], theirs[0]))
    # What lies in the first window alone: ours are spread evenly, so that none is filled up.
    expected = read_audio(tmp_path / "theirs/small/0/drums.wav", sample_rate=16_000).samples
    found = Corpus(cuts, tmp_path / "0").waveform(0, "drums")[: 5 * 16_000]
    np.testing.assert_allclose(found, expected.mean(axis=0)[: len(found)], atol=1e-3)
    seconds = [mine for mine, _ in rows]
    ratio = record(
        "separation of 2 clips of 30 s by the stage, against demucs' command line",
        [theirs / mine for mine, theirs in rows], seconds, goal=1.2,
        floor="the same network, and some 4 s in which Python and torch start in both",
    )  # fmt: skip
    assert ratio > 0.85
