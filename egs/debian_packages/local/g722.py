"""ITU-T G.722 at 64 kbit/s: wide-band telephone speech, many files decoded side by side.

Each byte is two samples at 16 kHz: 6 bits of the band below 4 kHz, 2 of the band above it, each
adaptive differential PCM with two poles and six zeros, joined by a quadrature mirror filter. The
recursion runs in time, so files are the vector axis. Integers as in the recommendation's blocks.
"""

from collections.abc import Iterator, Sequence

import numpy as np

SAMPLE_RATE = 16_000

_LOW = np.array([
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192,
    -10232, -9360, -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576,
    -3168, -2776, -2400, -2032, -1688, -1360, -1040, -728, 24808, 21904, 19008, 16704,
    14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456, 4944, 4464,
    4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136
], np.int64)  # fmt: skip
"""Quantized difference of the lower band by its 6 bits, in units of the step."""
_LOW_4_BITS = np.array([
    0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240,
    2584, 1200, 0
], np.int64)  # fmt: skip
"""The same by its first 4 bits: these alone steer the adaptation."""
_HIGH = np.array([-7408, -1616, 7408, 1616], np.int64)
_LOW_LOG = np.array([
    0, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60
])  # fmt: skip
"""What the 4 bits add to the logarithm of the step."""
_HIGH_LOG = np.array([798, -214, 798, -214])
_MANTISSA = np.array([
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
    2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
], np.int64)  # fmt: skip
_MIRROR = np.array([3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11], np.int64)
_LOG_LIMIT = np.array([[18432], [22528]])
_LOG_SHIFT = np.array([[8], [10]])


def decode(files: Sequence[bytes], side_by_side: int = 512) -> Iterator[tuple[int, np.ndarray]]:
    """Decode files, those of similar length together.

    Args:
        files: Contents of G.722 files.
        side_by_side: How many are decoded at once.

    Yields:
        Number of a file, and its samples: int16 (2 * bytes,) at 16 kHz.
    """
    order = sorted(range(len(files)), key=lambda number: len(files[number]))
    for first in range(0, len(order), side_by_side):
        numbers = order[first : first + side_by_side]
        longest = len(files[numbers[-1]])
        codes = np.zeros((longest, len(numbers)), np.uint8)
        for column, number in enumerate(numbers):
            codes[: len(files[number]), column] = np.frombuffer(files[number], np.uint8)
        samples = _join_bands(_decode_bands(codes))
        for column, number in enumerate(numbers):
            yield number, samples[: 2 * len(files[number]), column]


def _decode_bands(codes: np.ndarray) -> np.ndarray:
    """Decode both bands: codes (steps, files) to values (steps, 2, files)."""
    steps, count = codes.shape
    band = _Bands(count)
    values = np.empty((steps, 2, count), np.int16)
    low, high = codes & 63, codes >> 6
    full, short = (
        np.stack([_LOW[low], _HIGH[high]], 1),
        np.stack([_LOW_4_BITS[low >> 2], _HIGH[high]], 1),
    )
    log_steps = np.stack([_LOW_LOG[low >> 2], _HIGH_LOG[high]], 1)
    for step in range(steps):
        values[step] = np.clip(band.prediction + (band.step * full[step] >> 15), -16384, 16383)
        band.adapt(band.step * short[step] >> 15, log_steps[step])
    return values


class _Bands:
    """The predictors of the lower and the upper band of many files; every array (2, files)."""

    def __init__(self, count: int) -> None:
        self.prediction = np.zeros((2, count), np.int64)
        self.step = np.repeat([[32], [8]], count, 1)
        self.log = np.zeros((2, count), np.int64)
        self.zero_part = np.zeros((2, count), np.int64)
        self.poles = np.zeros((2, 2, count), np.int64)
        self.zeros = np.zeros((6, 2, count), np.int64)
        self.differences = np.zeros((6, 2, count), np.int64)
        self.rebuilt = np.zeros((2, 2, count), np.int64)
        self.partial = np.zeros((2, 2, count), np.int64)

    def adapt(self, difference: np.ndarray, log_step: np.ndarray) -> None:
        """Take the next difference: new step, new filters, new prediction."""
        self.log = np.clip((self.log * 127 >> 7) + log_step, 0, _LOG_LIMIT)
        shift = _LOG_SHIFT - (self.log >> 11)
        mantissa = _MANTISSA[self.log >> 6 & 31]
        self.step = (
            np.where(shift < 0, mantissa << -np.minimum(shift, 0), mantissa >> np.maximum(shift, 0))
            << 2
        )
        rebuilt = _saturated(self.prediction + difference)
        partial = _saturated(self.zero_part + difference)
        self._adapt_poles(partial)
        gain = np.where(difference == 0, 0, 128)
        agree = (self.differences < 0) == (difference < 0)
        self.zeros = _saturated(np.where(agree, gain, -gain) + (self.zeros * 32640 >> 15))
        self.differences = np.concatenate([difference[None], self.differences[:-1]])
        self.rebuilt = np.stack([rebuilt, self.rebuilt[0]])
        self.partial = np.stack([partial, self.partial[0]])
        pole_part = (self.poles * _saturated(2 * self.rebuilt) >> 15).sum(0)
        self.zero_part = _saturated((self.zeros * _saturated(2 * self.differences) >> 15).sum(0))
        self.prediction = _saturated(_saturated(pole_part) + self.zero_part)

    def _adapt_poles(self, partial: np.ndarray) -> None:
        first, second = self.poles
        alike = (partial < 0) == (self.partial[0] < 0)
        alike_before = (partial < 0) == (self.partial[1] < 0)
        push = _saturated(first << 2)
        push = np.minimum(np.where(alike, -push, push), 32767)
        new = np.where(alike_before, 128, -128) + (push >> 7) + (second * 32512 >> 15)
        new = np.clip(new, -12288, 12288)
        limit = _saturated(15360 - new)
        moved = _saturated(np.where(alike, 192, -192) + (first * 32640 >> 15))
        self.poles = np.stack([np.clip(moved, -limit, limit), new])


def _join_bands(values: np.ndarray) -> np.ndarray:
    """Join bands by the mirror filter: (steps, 2, files) to int16 (2 * steps, files)."""
    low, high = values[:, 0].astype(np.int32), values[:, 1].astype(np.int32)
    steps, count = low.shape
    joined = np.empty((2 * steps, count), np.int16)
    pad = np.zeros((11, count), np.int32)
    summed, differing = np.concatenate([pad, low + high]), np.concatenate([pad, low - high])
    for lane, source, filter_ in ((0, differing, _MIRROR[::-1]), (1, summed, _MIRROR)):
        output = sum(int(tap) * source[i : i + steps] for i, tap in enumerate(filter_))
        joined[lane::2] = _saturated(output >> 11)
    return joined


def _saturated(values: np.ndarray) -> np.ndarray:
    return np.clip(values, -32768, 32767)
