"""What conversion changed: largest differences between two encoders, layer by layer, in numbers."""

from dataclasses import dataclass

import torch
from torch import Tensor

from audiossl.models.encoder import Encoder
from audiossl.nn.lengths import valid_mask


@dataclass(frozen=True)
class Difference:
    """Of one output of two encoders."""

    name: str
    """"layer 1", "layer 2", ..., or "output"."""
    largest: float
    """Greatest absolute difference over valid frames; NaN if shapes differ."""
    size: float
    """Root mean square of the first encoder's output, to compare with."""


def compare_encoders(first: Encoder, second: Encoder, seconds: float = 2.0) -> list[Difference]:
    """Encode a fixed signal, in a batch of two durations, with both encoders.

    Args:
        first: What was converted.
        second: What came out.
        seconds: Duration of the signal.
    """
    waveforms, lengths = fixed_signal(first.sample_rate, seconds)
    with torch.inference_mode():
        one, other = first(waveforms, lengths), second(waveforms, lengths)
    differences = [
        _difference(f"layer {index}", *pair, one.lengths_of_layers)
        for index, pair in enumerate(zip(one.layers, other.layers, strict=True), start=1)
    ]
    return [*differences, _difference("output", one.vectors, other.vectors, one.lengths)]


def certificate(differences: list[Difference]) -> str:
    """Write differences as a table, with a verdict."""
    rows = [f"{'':10} {'largest difference':>20} {'size':>10}"]
    rows += [f"{d.name:10} {d.largest:20.3g} {d.size:10.4f}" for d in differences]
    largest = max(d.largest for d in differences)
    verdict = "bit-equal" if largest == 0 else f"largest difference {largest:.3g}"
    return "\n".join([*rows, verdict])


def fixed_signal(sample_rate: int, seconds: float) -> tuple[Tensor, Tensor]:
    """Make two waveforms of noise and a rising tone; the second is shorter by a third."""
    count = int(sample_rate * seconds)
    time = torch.arange(count) / sample_rate
    noise = torch.randn(2, count, generator=torch.Generator().manual_seed(0))
    waveforms = 0.1 * noise + 0.3 * torch.sin(2 * torch.pi * (200 + 800 * time) * time)
    return waveforms, torch.tensor([count, count * 2 // 3])


def _difference(name: str, one: Tensor, other: Tensor, lengths: Tensor) -> Difference:
    valid = valid_mask(lengths, one.shape[1])
    size = float(one[valid].square().mean().sqrt())
    if one.shape != other.shape:
        return Difference(name, float("nan"), size)
    return Difference(name, float((one - other)[valid].abs().max()), size)
