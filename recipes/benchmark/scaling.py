"""What a corpus costs stage by stage: time on 1, 8 and 64 GPUs, cores, disk. `docs/scaling.md`.

Operations of products and convolutions are counted, on a device that computes nothing; what share
of a GPU's peak they reach is an assumption of whoever runs this, best taken from the table of
`recipes/benchmark/gpu.sh`. Rates of a core are measured here.
"""

import argparse
import io
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import soundfile
import torch
from demucs.htdemucs import HTDemucs
from torch.utils.flop_counter import FlopCounterMode
from transformers import WavLMConfig, WavLMModel

from audiossl.data.plan import Plan, PlanConfig, Position
from audiossl.models.zipformer.config import BASE, LARGE, XLARGE, ZipformerConfig
from audiossl.models.zipformer.model import Zipformer

RATE = 16_000
CODES = 16 * 50
"""Bytes of a second of codes: 16 of one byte, 50 times."""
FLAC = 0.55
"""Bytes that FLAC leaves of 16-bit speech and music at 16 kHz, as a share; of silence less."""
OVERLAP = 0.25
"""Share of its window that a separator goes through twice."""


@dataclass(frozen=True)
class Stage:
    """A piece of work that grows with the hours of audio."""

    name: str
    operations: float
    """Floating-point operations for a second of audio that goes through, all passes together."""
    passes: float
    """Number of times the corpus goes through."""
    bytes_per_second: float
    """Bytes written for a second of audio."""

    def speed(self, flops: float) -> float:
        """Seconds of audio that go through in a second, at `flops` operations a second."""
        return flops / self.operations

    def row(self, hours: float, gpus: list[int], flops: float) -> str:
        """Format a row of the table."""
        needed = hours * self.passes / self.speed(flops)
        wall = " | ".join(f"{needed / count:,.1f}" for count in gpus)
        terabytes = hours * 3600 * self.bytes_per_second / 1e12
        return (
            f"| {self.name} | {self.operations / 1e9:,.1f} | {self.passes:g} | "
            f"{self.speed(flops):,.0f} | {wall} | {terabytes:.2f} |"
        )


def zipformer(config: ZipformerConfig, seconds: int = 15) -> float:
    """Count the operations of a forward pass, for a second of audio."""
    with torch.device("meta"):
        network = Zipformer(config).eval()
        features = torch.empty(1, 100 * seconds, network.num_bins)
        lengths = torch.full((1,), 100 * seconds)
    return _counted(lambda: network.encode_features(features, lengths)) / seconds


def wavlm_large(seconds: int = 15) -> float:
    """Count the operations of WavLM Large, the teacher of speech."""
    config = WavLMConfig(
        hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
        feat_extract_norm="layer", do_stable_layer_norm=True,
    )  # fmt: skip
    with torch.device("meta"):
        network = WavLMModel(config).eval()
        waveform = torch.empty(1, RATE * seconds)
    return _counted(lambda: network(waveform)) / seconds


def demucs() -> float:
    """Count the operations of Hybrid Transformer Demucs, overlap included."""
    # It looks at values, which a device that computes nothing does not have.
    network = HTDemucs(["drums", "bass", "other", "vocals"]).eval()
    samples = int(network.segment * network.samplerate)
    waveform = torch.zeros(1, 2, samples)
    seconds = samples / network.samplerate
    return _counted(lambda: network(waveform)) / seconds / (1 - OVERLAP)


def flac_speed(seconds: int = 20, rounds: int = 10) -> float:
    """Measure the seconds of audio that one core decodes in a second."""
    generator = np.random.default_rng(0)
    # Neighboring samples are alike, as in sound; white noise does not shrink.
    sound = np.cumsum(generator.normal(size=seconds * RATE))
    sound = 0.5 * (sound - sound.mean()) / np.abs(sound - sound.mean()).max()
    stored = io.BytesIO()
    soundfile.write(stored, sound, RATE, format="FLAC")
    started = time.process_time()
    for _ in range(rounds):
        stored.seek(0)
        soundfile.read(stored, dtype="float32")
    return rounds * seconds / (time.process_time() - started)


def plan_costs(cuts: int) -> tuple[float, float]:
    """Measure the seconds and bytes a cut that the plan of an epoch takes in each process."""
    samples = np.random.default_rng(0).integers(2 * RATE, 20 * RATE, cuts)
    tracemalloc.start()
    started = time.process_time()
    plan = Plan(samples, RATE, PlanConfig(batch_duration=3200.0))
    next(iter(plan.positions(Position())))
    seconds = time.process_time() - started
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return seconds / cuts, peak / cuts + samples.itemsize


def stages(passes: float) -> list[Stage]:
    """List the stages from mixtures to a probed encoder."""
    stem = RATE * 2 * FLAC
    networks = {"base": BASE, "large": LARGE, "xlarge": XLARGE}
    counted = {name: zipformer(config) for name, config in networks.items()}
    return [
        Stage("separate, htdemucs, 4 stems kept", demucs(), 1, 4 * stem),
        Stage("encode, a teacher of WavLM Large's size", wavlm_large(), 1, CODES),
        *(
            Stage(f"pretrain, Zipformer {name}", 3 * operations, passes, 0.0)
            for name, operations in counted.items()
        ),
        Stage("embed for probes, base", counted["base"], 1, 0.0),
    ]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=1e5, help="of audio: %(default)g")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--passes", type=float, default=5, help="of training: %(default)g")
    parser.add_argument("--peak", type=float, default=989, help="TFLOP/s, bf16: %(default)g")
    parser.add_argument("--share", type=float, default=0.1, help="of it reached: %(default)g")
    given = parser.parse_args()
    flops = given.peak * 1e12 * given.share
    wall = " | ".join(f"hours, {count} GPU{'s' * (count > 1)}" for count in given.gpus)
    print(
        f"{given.hours:,.0f} hours, {given.peak:g} TFLOP/s x {given.share:g}\n\n"
        f"| stage | GFLOP a second | passes | audio h / GPU h | {wall} | TB written |\n"
        f"|---|--:|--:|--:|{'--:|' * len(given.gpus)}--:|"
    )
    for stage in stages(given.passes):
        print(stage.row(given.hours, given.gpus, flops))
    print(_beside(given.hours, flops))
    return 0


def _beside(hours: float, flops: float) -> str:
    """Say what a corpus asks of disks and cores."""
    cuts, speed = hours * 3600 / 10, flac_speed()
    seconds, memory = plan_costs(10**6)
    cores = flops / (3 * zipformer(BASE)) / speed
    return (
        f"\ncorpus as FLAC: {hours * 3600 * RATE * 2 * FLAC / 1e12:.1f} TB; "
        f"one core decodes {speed:,.0f} s a second;\n"
        f"Zipformer base asks for {cores:.1f} cores a GPU; "
        f"{cuts / 1e6:,.0f} million cuts of 10 s\n"
        f"have a plan of an epoch that takes {cuts * seconds:,.0f} s and "
        f"{cuts * memory / 1e9:,.1f} GB"
    )


def _counted(work: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        work()
    return float(counter.get_total_flops())


if __name__ == "__main__":
    raise SystemExit(main())
