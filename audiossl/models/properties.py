"""What every encoder promises, as checks that run on any: own, imported, or somebody's own class.

Each of them is a mistake that has been made again and again in published encoders: padding that
reaches the embedding, lengths off by one, layers of unequal length, NaN on silence, layer drop left
on at inference.
"""

import copy
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from audiossl.models.encoder import Encoder
from audiossl.nn.frames import Frames
from audiossl.nn.weights import load_exactly, read_weights, write_weights

TOLERANCE = 1e-4
"""Largest difference, relative to the largest value of the tensor, that rounding may make."""


@dataclass(frozen=True)
class Finding:
    """Result of one check."""

    name: str
    """The property."""
    holds: bool | None
    """None where something is only measured."""
    details: str
    """The figures behind it."""


def check_encoder(encoder: nn.Module) -> Iterator[Finding]:
    """Check every property of an encoder, in evaluation mode, on the device where it is.

    An exception that a check meets is a finding like any other.
    """
    assert isinstance(encoder, Encoder)
    for name, check in PROPERTIES.items():
        try:
            if encoder.frame_rate == 0 and check in _OF_FRAMES:
                holds, figures = None, "no frames: this encoder gives clip vectors alone"
            else:
                # What networks keep between calls must also serve where gradients are asked for.
                with torch.no_grad():
                    holds, figures = check(encoder)
        except Exception as error:
            holds, figures = False, f"{type(error).__name__}: {str(error).splitlines()[0]}"
        yield Finding(name, holds, figures)


def moving_sound(seconds: float, sample_rate: int, seed: int = 0) -> Float[Tensor, " samples"]:
    """Make a sound that changes all the time: gliding partials under a tremolo, and some noise.

    Example:
        >>> moving_sound(0.5, 16000).shape
        torch.Size([8000])
    """
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(round(seconds * sample_rate)) / sample_rate
    pitch = 150 * (1 + seed % 5) * (1 + 0.3 * torch.sin(2 * torch.pi * 0.7 * time))
    phase = 2 * torch.pi * torch.cumsum(pitch, dim=0) / sample_rate
    partials = sum(torch.sin(k * phase) / k for k in range(1, 8))
    tremolo = 0.5 + 0.5 * torch.sin(2 * torch.pi * 3.1 * time + seed)
    return 0.1 * tremolo * partials + 0.01 * torch.randn(len(time), generator=generator)


Check = Callable[[Encoder], tuple[bool | None, str]]


def _shapes(encoder: Encoder) -> tuple[bool, str]:
    frames = _encode(encoder, moving_sound(2.0, encoder.sample_rate))
    clip = frames.clip
    problems = [
        problem
        for problem, wrong in {
            f"vectors have {frames.vectors.shape[2]} values, dim says {encoder.dim}": (
                frames.vectors.shape[2] != encoder.dim
            ),
            f"frame_rate is {encoder.frame_rate}": encoder.frame_rate < 0,
            f"output is {frames.vectors.dtype}": frames.vectors.dtype != torch.float32,
            "more valid frames than frames": int(frames.lengths[0]) > frames.vectors.shape[1],
        }.items()
        if wrong
    ]
    rates = f"{encoder.sample_rate / 1000:g} kHz in, {encoder.frame_rate:g} Hz out"
    if encoder.frame_rate > 0:
        rates += f" (a frame every {1000 / encoder.frame_rate:g} ms)"
    sizes = f"{rates}, {encoder.dim} values, clip vector of {clip.shape[1]}"
    return not problems, "; ".join(problems) or sizes


def _layers(encoder: Encoder) -> tuple[bool, str]:
    frames = _encode(encoder, moving_sound(2.0, encoder.sample_rate))
    counts = {layer.shape[1] for layer in frames.layers}
    if frames.layer_rate in (None, frames.frame_rate):
        counts.add(frames.vectors.shape[1])
    return len(counts) == 1, f"{len(frames.layers)} layers, {_listed(counts)} frames"


def _padding(encoder: Encoder) -> tuple[bool, str]:
    """Encode unequal lengths alone and together, with noise behind the end of each."""
    alone = [moving_sound(s, encoder.sample_rate, i) for i, s in enumerate((2.0, 1.13, 0.4, 1.7))]
    lengths = torch.tensor([len(waveform) for waveform in alone])
    batch = torch.stack([F.pad(w, (0, int(lengths.max()) - len(w))) for w in alone])
    noise = torch.randn(batch.shape, generator=torch.Generator().manual_seed(0))
    batch = torch.where(torch.arange(batch.shape[1]) < lengths[:, None], batch, noise)
    device = _device(encoder)
    together = encoder(batch.to(device), lengths.to(device))
    worst = 0.0
    for row, waveform in enumerate(alone):
        single = _encode(encoder, waveform)
        count = int(single.lengths[0])
        if int(together.lengths[row]) != count:
            return False, f"{int(together.lengths[row])} frames in a batch, {count} alone"
        worst = max(worst, _distance(single, together, row, count))
    return worst <= TOLERANCE, f"largest difference {worst:.1e} (bound {TOLERANCE:.0e})"


def _lengths(encoder: Encoder) -> tuple[bool, str]:
    """Compare the lengths that a batch reports with what each waveform gives alone."""
    hop = encoder.sample_rate / encoder.frame_rate
    sizes = [round(0.05 * encoder.sample_rate + hop * quarter / 4) for quarter in range(17)]
    device = _device(encoder)
    batch = torch.zeros(len(sizes), max(sizes), device=device)
    reported = encoder(batch, torch.tensor(sizes, device=device)).lengths.tolist()
    counted = []
    for size in sizes:
        alone = encoder(torch.zeros(1, size, device=device), torch.tensor([size], device=device))
        counted.append(alone.vectors.shape[1])
        if int(alone.lengths[0]) != alone.vectors.shape[1]:
            return False, f"{size} samples: {alone.vectors.shape[1]} frames, lengths say otherwise"
    if reported != counted:
        size, stated, is_so = next(
            row for row in zip(sizes, reported, counted, strict=True) if row[1] != row[2]
        )
        return False, f"{size} samples: lengths say {stated}, but alone it has {is_so} frames"
    falls = any(later < earlier for earlier, later in pairwise(counted))
    return not falls, f"{counted[0]} to {counted[-1]} frames for 50 ms and up to 4 frames more"


def _timing(encoder: Encoder) -> tuple[bool, str]:
    count = int(_encode(encoder, moving_sound(20.0, encoder.sample_rate)).lengths[0])
    expected = 20.0 * encoder.frame_rate
    # Convolutions that pad nothing lose a few frames at the ends.
    return (
        abs(count - expected) <= 4,
        f"{count} frames in 20 s are {count / 20:g} Hz, frame_rate says {encoder.frame_rate:g} Hz",
    )


def _extremes(encoder: Encoder) -> tuple[bool, str]:
    second = encoder.sample_rate
    full_scale = torch.where(torch.arange(second) // 40 % 2 == 0, 1.0, -1.0)
    cases = {
        "silence": torch.zeros(second),
        "DC": torch.full((second,), 0.5),
        "full scale": full_scale,
        "one click": F.one_hot(torch.tensor(second // 2), second).float(),
        "50 ms": moving_sound(0.05, second),
    }
    bad = []
    for name, waveform in cases.items():
        frames = _encode(encoder, waveform)
        if not all(bool(torch.isfinite(part).all()) for part in _parts(frames)):
            bad.append(name)
    return not bad, f"{'NaN or infinite' if bad else 'finite'} on {', '.join(bad or cases)}"


def _deterministic(encoder: Encoder) -> tuple[bool, str]:
    waveform = moving_sound(1.5, encoder.sample_rate)
    first, second = _encode(encoder, waveform), _encode(encoder, waveform)
    same = all(torch.equal(a, b) for a, b in zip(_parts(first), _parts(second), strict=True))
    return same, "the same bits twice" if same else "two calls differ: dropout or masking is on"


def _survives_disk(encoder: Encoder) -> tuple[bool | None, str]:
    """Write the weights, read them into a copy with other weights, compare what both say."""
    if not isinstance(encoder, nn.Module):
        return None, "no torch module: nothing to save"
    waveform = moving_sound(1.5, encoder.sample_rate)
    other = copy.deepcopy(encoder)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        write_weights(path, encoder.state_dict())
        for value in other.state_dict().values():
            value.zero_()
        load_exactly(other, read_weights(path), str(path))
    pairs = zip(_parts(_encode(encoder, waveform)), _parts(_encode(other, waveform)), strict=True)
    same = all(torch.equal(a, b) for a, b in pairs)
    return same, "the same bits after save and load" if same else "state_dict lacks something"


def _chunks(encoder: Encoder) -> tuple[bool, str]:
    """Cut a chunk out of a long sound where a frame begins, and look for its frames in the whole.

    Networks that see or level the whole input cannot agree exactly; they have to be near.
    """
    hop = encoder.sample_rate / encoder.frame_rate
    first = round(6.0 * encoder.frame_rate)
    begin, length = round(first * hop), round(6.0 * encoder.sample_rate)
    whole = moving_sound(18.0, encoder.sample_rate)
    chunk = _encode(encoder, whole[begin : begin + length]).vectors[0]
    same = _encode(encoder, whole).vectors[0, first : first + len(chunk)]
    edge = len(chunk) // 4
    likeness = F.cosine_similarity(chunk, same, dim=1)[edge : len(chunk) - edge].mean()
    return bool(likeness > 0.9), f"cosine {likeness:.4f} between a chunk's frames and the whole's"


def _long_file(encoder: Encoder) -> tuple[bool, str]:
    """Encode a minute at once: do its frames still keep time, and the last ones say the same?"""
    rate, seconds = encoder.sample_rate, 60.0
    whole = moving_sound(seconds, rate)
    frames = _encode(encoder, whole)
    count = int(frames.lengths[0])
    first = round(50.0 * encoder.frame_rate)
    begin = round(first * rate / encoder.frame_rate)
    late = _encode(encoder, whole[begin : begin + 6 * rate]).vectors[0]
    same = frames.vectors[0, first : first + len(late)]
    edge = len(late) // 4
    likeness = F.cosine_similarity(late[: len(same)], same, dim=1)[edge : len(late) - edge].mean()
    drift = 1000 * (count / encoder.frame_rate - seconds)
    holds = abs(count - seconds * encoder.frame_rate) <= 4 and bool(likeness > 0.9)
    return (
        holds,
        f"frames of 60 s end {drift:+.0f} ms off; at 50 s cosine {likeness:.4f} to a chunk",
    )


def _shortest(encoder: Encoder) -> tuple[bool, str]:
    """Find the shortest clip with a frame; a shorter one has none, and a vector of zeros."""

    def has_frame(num_samples: int) -> bool:
        return int(_encode(encoder, torch.full((num_samples,), 0.1)).lengths[0]) > 0

    low, high = 0, round(2.0 * encoder.sample_rate)
    if not has_frame(high):
        return False, "a clip of 2 s has no frame"
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if has_frame(middle) else (middle, high)
    shortest = f"{1000 * high / encoder.sample_rate:.4g} ms ({high} samples) have a frame"
    if low == 0:
        return True, f"any clip has a frame: {shortest}"
    clip = _encode(encoder, torch.full((low,), 0.1)).clip
    zeros = "zeros, which embed leaves out" if not clip.any() else "no zeros"
    return bool(torch.isfinite(clip).all()), f"{shortest}; the vector of a shorter clip is {zeros}"


def _gradients(encoder: Encoder) -> tuple[bool | None, str]:
    """Follow a random sum of the output back to the waveform, whose padding has no share in it."""
    rate = encoder.sample_rate
    with torch.enable_grad():
        waveform = F.pad(moving_sound(1.0, rate), (0, rate // 2))[None].to(_device(encoder))
        waveform.requires_grad_(True)
        frames = encoder(waveform, torch.tensor([rate], device=waveform.device))
        valid = frames.vectors[0, : int(frames.lengths[0])] if encoder.frame_rate else frames.clip
        if not valid.requires_grad:
            return None, "none: nothing before this encoder can be trained through it"
        weights = torch.randn(valid.shape, generator=torch.Generator().manual_seed(0))
        (gradient,) = torch.autograd.grad((valid * weights.to(valid)).sum(), waveform)
    finite, reached = bool(torch.isfinite(gradient).all()), gradient[0] != 0
    share = float(reached[:rate].float().mean())
    leaks = bool(reached[rate:].any())
    found = f"{'finite' if finite else 'NaN or infinite'}, at {share:.0%} of the samples"
    return finite and share > 0 and not leaks, found + (", and at padding" if leaks else "")


def _lower_precision(encoder: Encoder) -> tuple[None, str]:
    waveform = moving_sound(2.0, encoder.sample_rate)
    exact = _encode(encoder, waveform).clip
    with torch.autocast(_device(encoder).type, torch.bfloat16):
        drifted = _encode(encoder, waveform).clip
    likeness = F.cosine_similarity(exact.float(), drifted.float(), dim=1).item()
    return None, f"clip vector in bfloat16 autocast: cosine {likeness:.5f}"


PROPERTIES: dict[str, Check] = {
    "shapes and types": _shapes,
    "layers of one length": _layers,
    "padding changes nothing": _padding,
    "lengths are exact": _lengths,
    "frames keep time": _timing,
    "finite on any input": _extremes,
    "deterministic": _deterministic,
    "save and load": _survives_disk,
    "chunks agree": _chunks,
    "long files": _long_file,
    "shortest clip": _shortest,
    "gradients reach the input": _gradients,
    "lower precision": _lower_precision,
}
"""What is checked, in the order in which it is reported."""
_OF_FRAMES = (_lengths, _timing, _chunks, _long_file, _shortest)


def _encode(encoder: Encoder, waveform: Tensor) -> Frames:
    device = _device(encoder)
    return encoder(waveform[None].to(device), torch.tensor([len(waveform)], device=device))


def _device(encoder: Encoder) -> torch.device:
    tensors = encoder.parameters() if isinstance(encoder, nn.Module) else iter(())
    first = next(tensors, None)
    return torch.device("cpu") if first is None else first.device


def _parts(frames: Frames) -> list[Tensor]:
    """List the valid frames of a single sequence: output, layers, clip vector."""
    count = int(frames.lengths[0])
    return [part[:, :count] for part in (frames.vectors, *frames.layers)] + [frames.clip]


def _distance(single: Frames, batch: Frames, row: int, count: int) -> float:
    """Measure the largest difference, relative to the largest value of each tensor."""
    pairs = zip((single.vectors, *single.layers), (batch.vectors, *batch.layers), strict=True)
    distances = [
        _relative(alone[0, :count], together[row, :count]) for alone, together in pairs if count
    ]
    return max([*distances, _relative(single.clip[0], batch.clip[row])])


def _relative(expected: Tensor, actual: Tensor) -> float:
    scale = expected.abs().max().clamp(min=1e-6)
    return float((expected - actual).abs().max() / scale)


def _listed(counts: set[int]) -> str:
    return " and ".join(str(count) for count in sorted(counts))
