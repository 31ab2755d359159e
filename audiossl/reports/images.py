"""Pictures of sound as small PNG files: an index into a palette for each pixel."""

import functools
from io import BytesIO

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image

from audiossl.features.log_mel import LogMel, LogMelConfig

_RANGE = 8.0
"""Natural logarithm of magnitudes that the colors span: 70 dB."""


def spectrogram_png(waveform: Float[np.ndarray, " samples"], loudest: float | None = None) -> bytes:
    """Draw log-mel frames, low bands at the bottom, as PNG.

    Args:
        waveform: At 16 kHz.
        loudest: Log magnitude of the brightest color; by default that of this waveform.
    """
    levels = log_mel_image(waveform)
    top = float(levels.max()) if loudest is None else loudest
    shades = np.clip((levels - top + _RANGE) / _RANGE, 0, 1) * 255
    return palette_png(np.flipud(shades.T).astype(np.uint8), palette())


def log_mel_image(waveform: Float[np.ndarray, " samples"]) -> Float[np.ndarray, "frames bands"]:
    """Compute the log-mel frames of a waveform, of at least one."""
    config = LogMelConfig()
    padded = np.pad(waveform, (0, max(0, config.window_length - len(waveform))))
    return _front_end()(torch.from_numpy(padded.astype(np.float32))[None])[0].numpy()


def palette_png(
    pixels: UInt8[np.ndarray, "height width"], colors: UInt8[np.ndarray, "colors three"]
) -> bytes:
    """Write an image of 8-bit indices as PNG."""
    image = Image.fromarray(pixels)
    image.putpalette(colors.tobytes())
    content = BytesIO()
    image.save(content, format="png", optimize=True)
    return content.getvalue()


@functools.cache
def palette() -> UInt8[np.ndarray, "colors three"]:
    """Sample matplotlib's "magma": dark for silence, bright for sound, even to the eye."""
    # Imported here: only who draws pays for it.
    from matplotlib import colormaps

    colors = colormaps["magma"](np.linspace(0, 1, 256))[:, :3]
    return (colors * 255).round().astype(np.uint8)


@functools.cache
def _front_end() -> LogMel:
    return LogMel(LogMelConfig())
