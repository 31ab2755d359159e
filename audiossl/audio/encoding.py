"""Writing audio without touching its level: what would clip is refused, never scaled in silence."""

import io
from collections.abc import Iterable

import numpy as np
import soundfile
from jaxtyping import Float, Int16

from audiossl.errors import UserError

_STEPS = 2**15
_LEAST_SNR = 1e6
"""Of energies: what 16 bits would keep with less than 60 dB is stored with a gain."""
_LARGEST_GAIN = 2.0**96


def common_gain(waveforms: Iterable[Float[np.ndarray, " samples"]]) -> float:
    """Find the gain under which none of `waveforms` clips: 1, or 1/2, 1/4, ...

    A mixture and its stems are written with one gain, so that they keep their levels relative to
    each other; whoever reads them divides by it, which is exact for powers of two.
    """
    peak = max((float(np.abs(waveform).max(initial=0.0)) for waveform in waveforms), default=0.0)
    return 1.0 if peak <= 1 else float(2.0 ** -np.ceil(np.log2(peak)))


def stored_gain(waveform: Float[np.ndarray, " samples"]) -> float:
    """Find the gain to store a waveform with: a power of two, 1 wherever 16 bits are enough.

    Below 1 where it would clip. Above 1 for recordings so quiet (hydrophones, distant microphones
    in 24 bits) that rounding would take their sound away: their peak then comes to full scale.
    """
    peak = float(np.abs(waveform).max(initial=0.0))
    if peak == 0.0 or peak > 1.0:
        return common_gain([waveform])
    error = waveform - np.rint(waveform * _STEPS) / np.float32(_STEPS)
    if _energy(error) * _LEAST_SNR <= _energy(waveform):
        return 1.0
    return min(float(2.0 ** np.floor(-np.log2(peak))), _LARGEST_GAIN)


def pcm16(waveform: Float[np.ndarray, " samples"]) -> Int16[np.ndarray, " samples"]:
    """Round to 16-bit integers, without dither (the same samples always give the same bytes).

    libsndfile's readers give back sample / 32768, at most half a step (-96 dBFS) from the original;
    +1 itself, which has no integer, becomes 32767.

    Raises:
        UserError: A sample is beyond -1 to 1, or is no number.
    """
    peak = float(np.abs(waveform).max(initial=0.0))
    if not peak <= 1:  # NaN too
        raise UserError(
            f"samples as large as {peak:.3f} would clip as 16-bit integers: write the mixture and "
            "all its stems with one gain (audiossl.audio.encoding.common_gain) and note it"
        )
    return np.clip(np.rint(waveform * _STEPS), -_STEPS, _STEPS - 1).astype(np.int16)


def flac_bytes(waveform: Float[np.ndarray, " samples"], sample_rate: int) -> bytes:
    """Encode mono audio as FLAC of 16 bits.

    Raises:
        UserError: It would clip; see `pcm16`.
    """
    file = io.BytesIO()
    soundfile.write(file, pcm16(waveform), sample_rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def _energy(waveform: Float[np.ndarray, " samples"]) -> float:
    return float(np.square(waveform, dtype=np.float64).sum())
