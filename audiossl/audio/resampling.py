"""Band-limited change of sample rate: soxr while files are read, torchaudio for batches.

Two, because each does what the other cannot. soxr works on a stream of any length in the memory of
one block, on the CPU, for every ratio. torchaudio's polyphase convolution works on a batch where
the batch is, and its filter ends after 256 zero crossings, so that a window with a little context
is resampled exactly as the whole recording would be.
"""

import math
from collections.abc import Iterable, Iterator

import numpy as np
import soxr
from jaxtyping import Float
from torch import Tensor

from audiossl.errors import UserError

# Sharper than the usual 64 zero crossings at 95 %: a stem that went up to 44.1 kHz and back must
# still fill the highest mel band (7.8 of 8 kHz) as its mixture does. The filters cost next to
# nothing beside a separator. beta is that of resampy's "kaiser_best".
_ZERO_CROSSINGS = 256
_ROLLOFF = 0.985
_BETA = 14.769656459379492
_LARGEST_KERNEL = 2**24
BLOCK = 2**15
"""Samples over all channels that are decoded, and resampled, at once."""


def num_resampled(num_samples: int, from_rate: int, to_rate: int) -> int:
    """Count the samples after resampling: the nearest number, halves up, as soxr gives."""
    return (2 * num_samples * to_rate + from_rate) // (2 * from_rate)


def resample_blocks(
    blocks: Iterable[Float[np.ndarray, "samples channels"]], from_rate: int, to_rate: int
) -> Iterator[Float[np.ndarray, "resampled channels"]]:
    """Resample a stream block by block, as if it were whole, without delay.

    Args:
        blocks: Consecutive pieces of one signal, of any lengths.
        from_rate: Sample rate of `blocks`, in Hz.
        to_rate: Sample rate of what is yielded, in Hz.

    Yields:
        Consecutive pieces, `num_resampled` samples in all.
    """
    if from_rate == to_rate:
        yield from blocks
        return
    stream, width = None, 0
    for block in blocks:
        if stream is None:
            width = block.shape[1]
            stream = soxr.ResampleStream(from_rate, to_rate, width, dtype="float32", quality="HQ")
        yield stream.resample_chunk(block)
    if stream is not None:
        yield stream.resample_chunk(np.zeros((0, width), np.float32), last=True)


def resample_waveform(
    waveform: Float[np.ndarray, " samples"], from_rate: int, to_rate: int
) -> Float[np.ndarray, " resampled"]:
    """Resample a waveform in memory, bit for bit as the same samples are while a file is read."""
    if from_rate == to_rate:
        return waveform
    starts = range(0, len(waveform), BLOCK)
    blocks = (waveform[start : start + BLOCK, None] for start in starts)
    return np.concatenate(list(resample_blocks(blocks, from_rate, to_rate)))[:, 0]


def resample(
    waveforms: Float[Tensor, "*batch samples"], from_rate: int, to_rate: int
) -> Float[Tensor, "*batch resampled"]:
    """Resample a batch on its device, differentiably.

    Args:
        waveforms: Signals at `from_rate`.
        from_rate: In Hz.
        to_rate: In Hz.

    Returns:
        Signals at `to_rate`, of ceil(samples * to_rate / from_rate) samples. Up to 97 % of the
        lower Nyquist frequency the level is kept within 0.1 dB; what would alias is below -100 dB.

    Raises:
        UserError: The rates have so small a common divisor that the filter would not fit in memory.
    """
    if from_rate == to_rate:
        return waveforms
    divisor = math.gcd(from_rate, to_rate)
    taps = 2 * _half_width(from_rate, to_rate) + from_rate // divisor
    if taps * (to_rate // divisor) > _LARGEST_KERNEL:
        raise UserError(
            f"{from_rate} Hz to {to_rate} Hz needs too large a filter bank for batches (the rates "
            "share no large divisor): resample while reading, with read_audio(path, "
            f"sample_rate={to_rate})"
        )
    # Imported here: torchaudio takes long to import, and reading files does not need it.
    from torchaudio.functional import resample as polyphase

    return polyphase(
        waveforms.contiguous(),
        from_rate,
        to_rate,
        lowpass_filter_width=_ZERO_CROSSINGS,
        rolloff=_ROLLOFF,
        resampling_method="sinc_interp_kaiser",
        beta=_BETA,
    )


def context(from_rate: int, to_rate: int) -> int:
    """Count the samples on either side, at `from_rate`, that `resample` looks at."""
    return 0 if from_rate == to_rate else _half_width(from_rate, to_rate)


def _half_width(from_rate: int, to_rate: int) -> int:
    return math.ceil(_ZERO_CROSSINGS * from_rate / (min(from_rate, to_rate) * _ROLLOFF))
