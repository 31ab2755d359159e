"""Many waveforms of any length through an encoder, in batches of like lengths.

Padding is work for nothing: waveforms are read ahead, sorted by length, and put into batches that
hold little of it. As padding never changes a valid frame, neither does this.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from audiossl.models.encoder import Encoder
from audiossl.nn.constant_weights import constant_weights
from audiossl.nn.frames import Frames
from audiossl.nn.padding import padded
from audiossl.preemption import safe_point
from audiossl.read_ahead import read_ahead

Waveform = Float[np.ndarray, "_"]


@dataclass(frozen=True, kw_only=True)
class Batching:
    """How much is encoded at once; it changes nothing but speed and memory."""

    batch_seconds: float = 30.0
    """Audio in a batch, padding included; a longer waveform is a batch of its own."""
    ahead_seconds: float = 1200.0
    """Audio that is sorted by length together; as much again is read meanwhile."""
    most_padding: float | None = None
    """No waveform of a batch is shorter than the longest by more than this share. None: a quarter
    on an accelerator; nothing on a CPU, where masks cost more than waveforms side by side save."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: autocast on devices that compute in it."""


def encode_all(
    encoder: Encoder,
    waveforms: Iterable[Waveform],
    keep: Callable[[Frames], Mapping[str, Sequence[Tensor]]],
    *,
    leveled: bool = False,
    device: torch.device | None = None,
    batching: Batching | None = None,
) -> Iterator[dict[str, Tensor]]:
    """Encode waveforms and yield what is kept of each, in their order.

    Args:
        encoder: In evaluation mode, on `device`.
        waveforms: Mono, at the encoder's sample rate; as an iterator, they are read ahead.
        keep: Takes what is wanted from the frames of a batch: by name, a tensor a waveform.
        leveled: Whether waveforms have their level, which the encoder then leaves as it is.
        device: Where the encoder is; the CPU by default.
        batching: How much at once.

    Yields:
        What `keep` took of each waveform, on the CPU.
    """
    batching, device = batching or Batching(), device or torch.device("cpu")
    if (share := batching.most_padding) is None:
        share = 0.0 if device.type == "cpu" else 0.25
    chosen = replace(batching, most_padding=share)
    encode = partial(encode_leveled, encoder) if leveled else encoder
    for group in read_ahead(_groups(waveforms, batching, encoder.sample_rate)):
        results: list[dict[str, Tensor]] = [{} for _ in group]
        lengths = np.array([len(waveform) for waveform in group])
        # Not beyond the group: who takes what is yielded may do with the weights what they like.
        with constant_weights(cast(nn.Module, encoder)):
            for rows in batches_of(lengths, chosen, encoder.sample_rate):
                safe_point()
                batch, sizes = padded([group[row] for row in rows])
                frames = _encoded(encode, batch.to(device), sizes.to(device), batching.precision)
                for name, values in keep(frames).items():
                    for row, value in zip(rows, values, strict=True):
                        # A view would keep the whole batch as long as one of its rows.
                        results[row][name] = value.cpu().clone()
        yield from results


def batches_of(
    lengths: np.ndarray, batching: Batching, sample_rate: int, *, longest_first: bool = True
) -> list[list[int]]:
    """Put waveforms with `lengths` samples into batches, by length.

    Example:
        >>> seconds = np.array([1, 9, 1, 2])
        >>> batches_of(seconds * 16000, Batching(batch_seconds=10.0), 16000)
        [[1], [3], [0, 2]]
    """
    room = int(batching.batch_seconds * sample_rate)
    batches: list[list[int]] = []
    for row in np.argsort(-lengths if longest_first else lengths, kind="stable").tolist():
        if batches:
            shortest, longest = sorted((lengths[batches[-1][0]], lengths[row]))
            fits = (len(batches[-1]) + 1) * longest <= room
            if fits and shortest >= (1 - (batching.most_padding or 0.0)) * longest:
                batches[-1].append(row)
                continue
        batches.append([row])
    return batches


def encode_leveled(
    encoder: Encoder, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
) -> Frames:
    """Encode waveforms, zero beyond their lengths, without changing their level."""
    network: Any = encoder
    if hasattr(network, "encode_leveled"):  # it stands around another encoder
        return network.encode_leveled(waveforms, lengths)
    if not hasattr(network, "features_of_leveled"):
        return encoder(waveforms, lengths)
    return network.encode_features(*network.features_of_leveled(waveforms, lengths))


def _encoded(
    encode: Callable[[Tensor, Tensor], Frames], batch: Tensor, lengths: Tensor, precision: str
) -> Frames:
    lower = precision == "bfloat16" and batch.device.type != "cpu"
    with torch.inference_mode(), torch.autocast(batch.device.type, torch.bfloat16, enabled=lower):
        return encode(batch, lengths)


def _groups(
    waveforms: Iterable[Waveform], batching: Batching, sample_rate: int
) -> Iterator[list[Waveform]]:
    """Group an iterator by how many samples are held at once.

    The first groups are small, so that encoding begins before much has been read.
    """
    group: list[Waveform] = []
    held, seconds = 0, min(batching.batch_seconds, batching.ahead_seconds)
    for waveform in waveforms:
        group.append(waveform)
        held += len(waveform)
        if held >= seconds * sample_rate:
            yield group
            group, held, seconds = [], 0, min(2 * seconds, batching.ahead_seconds)
    if group:
        yield group
