"""A sound on a page: its spectrogram, which is also its player."""

import base64
from collections.abc import Sequence
from html import escape

import numpy as np
from jaxtyping import Float

from audiossl.audio.encoding import flac_bytes
from audiossl.data.reading import SAMPLE_RATE
from audiossl.reports.images import spectrogram_png

_LOUDNESS = 0.1
"""Root mean square that sounds are played at: -20 dBFS."""


def sound(
    waveform: Float[np.ndarray, " samples"], caption: str, marks: Sequence[tuple[float, float]] = ()
) -> str:
    """Show a sound as a spectrogram that plays it.

    It is played at a common loudness, whatever its own: what was leveled for training would be
    too faint to hear.

    Args:
        waveform: At 16 kHz.
        caption: What it is.
        marks: Places to point out, as shares of its length.
    """
    picture = base64.b64encode(spectrogram_png(waveform)).decode()
    audio = base64.b64encode(flac_bytes(audible(waveform), SAMPLE_RATE)).decode()
    escaped = escape(caption)
    bars = "".join(
        f'<b style="left:{100 * first:.2f}%;width:{100 * (last - first):.2f}%"></b>'
        for first, last in marks
    )
    return (
        f'<figure class="sound"><button type="button" aria-label="play {escaped}">'
        f'<img alt="spectrogram of {escaped}" src="data:image/png;base64,{picture}">'
        f"{bars}<i></i></button>"
        f'<audio controls preload="none" src="data:audio/flac;base64,{audio}"></audio>'
        f"<figcaption>{escaped}</figcaption></figure>"
    )


def audible(waveform: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " samples"]:
    """Scale to a common loudness, less where it would clip."""
    level = float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))
    peak = float(np.abs(waveform).max(initial=0.0))
    if peak == 0.0:
        return waveform
    return (waveform * min(_LOUDNESS / level, 0.98 / peak)).astype(np.float32)
