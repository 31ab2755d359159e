"""What conversion changed: largest differences between two encoders, in numbers."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from audiossl.errors import UserError
from audiossl.models.encoder import Encoder
from audiossl.nn.frames import Frames
from audiossl.nn.lengths import valid_mask

Outputs = Mapping[str, Tensor]
"""Outputs of an encoder by their names: "frames" (valid frames of the batch, dim), "clip", ..."""
Encode = Callable[[Tensor, Tensor], Outputs]
"""From waveforms and lengths to outputs."""
DURATIONS = (1.0, 3.0, 9.0)
"""Seconds of the signals; a graph is traced with two."""


@dataclass(frozen=True)
class Difference:
    """Difference of one output between two encoders."""

    name: str
    """Output and duration: "frames, 3 s", "layer 1", ..."""
    largest: float
    """Greatest absolute difference over valid frames; NaN if shapes differ."""
    size: float
    """Root mean square of the first encoder's output, to compare with."""
    rough: bool = False
    """Whether it is expected to differ, and is reported but not checked."""


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
        _difference(f"layer {index}", *(_valid(layer, one.lengths_of_layers) for layer in pair))
        for index, pair in enumerate(zip(one.layers, other.layers, strict=True), start=1)
    ]
    pair = (_valid(frames.vectors, one.lengths) for frames in (one, other))
    return [*differences, _difference("output", *pair)]


def compare_outputs(
    encoder: Encoder,
    other: Encode,
    durations: Iterable[float] = DURATIONS,
    reference: Encode | None = None,
) -> list[Difference]:
    """Encode fixed signals of several durations, each in a batch with a shorter one.

    Args:
        encoder: What was converted.
        other: What came out: some or all of the reference's outputs.
        durations: Seconds of the signals.
        reference: What it should be; None: frames and clip vectors of the encoder.
    """
    right = reference or (lambda waveforms, lengths: outputs_of_frames(encoder(waveforms, lengths)))
    differences = []
    for seconds in durations:
        waveforms, lengths = fixed_signal(encoder.sample_rate, seconds)
        with torch.inference_mode():
            expected, actual = right(waveforms, lengths), other(waveforms, lengths)
        differences += [
            _difference(f"{name}, {seconds:g} s", expected[name], value)
            for name, value in actual.items()
        ]
    return differences


def outputs_of_frames(frames: Frames) -> dict[str, Tensor]:
    """Name what an encoder returns."""
    return outputs_of(frames.vectors, frames.lengths, frames.clip)


def outputs_of(vectors: Tensor, lengths: Tensor, clip: Tensor) -> dict[str, Tensor]:
    """Name frames, of which `lengths` are valid, and clip vectors."""
    return {"frames": _valid(vectors, lengths), "clip": clip}


def certificate(differences: list[Difference]) -> str:
    """Write differences as a table, with a verdict."""
    width = max(10, *(len(d.name) for d in differences))
    rows = [f"{'':{width}} {'largest difference':>20} {'size':>10}"]
    rows += [f"{d.name:{width}} {d.largest:20.3g} {d.size:10.4g}" for d in differences]
    return "\n".join([*rows, verdict(differences)])


def verdict(differences: list[Difference]) -> str:
    """Say the largest difference in words, without those that are expected."""
    exact = [d.largest for d in differences if not d.rough]
    return "bit-equal" if max(exact) == 0 else f"largest difference {max(exact):.3g}"


def check_same(differences: list[Difference], source: str) -> None:
    """Refuse an export that is another network than the encoder.

    Raises:
        UserError: Shapes differ, or an output differs by as much as it is large.
    """
    for one in differences:
        # Also false for NaN.
        if not one.rough and not one.largest <= max(one.size, 1e-3):
            raise UserError(
                f"{source}: what was written is not the encoder: {one.name} differs by "
                f"{one.largest:.3g}, where its size is {one.size:.3g}; please report it"
            )


def fixed_signal(sample_rate: int, seconds: float) -> tuple[Tensor, Tensor]:
    """Make two waveforms of noise and a rising tone; the second is shorter by a third."""
    count = int(sample_rate * seconds)
    time = torch.arange(count) / sample_rate
    noise = torch.randn(2, count, generator=torch.Generator().manual_seed(0))
    waveforms = 0.1 * noise + 0.3 * torch.sin(2 * torch.pi * (200 + 800 * time) * time)
    return waveforms, torch.tensor([count, count * 2 // 3])


def _valid(vectors: Tensor, lengths: Tensor) -> Tensor:
    return vectors[valid_mask(lengths, vectors.shape[1])]


def _difference(name: str, one: Tensor, other: Tensor) -> Difference:
    size = float(one.square().mean().sqrt())
    if one.shape != other.shape:
        return Difference(name, float("nan"), size)
    return Difference(name, float((one - other).abs().max()), size)
