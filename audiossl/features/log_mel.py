"""Log-mel frames as COLA and musical source association compute them.

Windows of 25 ms every 10 ms, none padded: the last incomplete one is dropped. Magnitudes (not
powers) of a 1024-point transform of each window, zero-padded on the right; 64 triangular bands
from 60 to 7800 Hz that are linear in mel, with peak 1; natural logarithm of what is left after
clipping to [1e-5, 1e8]. No normalization.

Source: the front end of `google-research/google-research`, folder `cola/`, which follows
TensorFlow's `tf.signal`. torchaudio's MelSpectrogram is near to it and not equal: it centers the
window inside the transform and builds triangles that are linear in Hz.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from audiossl.audio.timing import num_frames
from audiossl.configs import Count, Nonnegative, Positive
from audiossl.features.bands import blocks, in_bands, triangles
from audiossl.nn.graphs import for_any_length

FLOOR = 1e-5
TINY = 1e-38
"""Least power of a bin, far below what the floor of a band lets through."""
CEILING = 1e8
CACHED_FRAMES = 256
"""Frames that a CPU works on at once."""


@dataclass(frozen=True, kw_only=True)
class LogMelConfig:
    """What the front end computes; the defaults are COLA's."""

    sample_rate: Count = 16000
    """Sample rate of the waveforms in Hz."""
    window_length: Count = 400
    """Number of samples in an analysis window."""
    hop_length: Count = 160
    """Number of samples from one frame to the next."""
    fft_size: Count = 1024
    """Number of points of the Fourier transform; windows are zero-padded on the right."""
    num_bands: Count = 64
    """Number of triangular mel bands."""
    low: Nonnegative = 60.0
    """Lower edge of the first band in Hz."""
    high: Positive = 7800.0
    """Upper edge of the last band in Hz."""


class LogMel(nn.Module):
    """Log-mel frames of a batch of waveforms, on any device."""

    def __init__(self, config: LogMelConfig) -> None:
        super().__init__()
        self.config = config
        window = torch.hann_window(config.window_length, periodic=True)
        window = F.pad(window, (0, config.fft_size - config.window_length))
        self.register_buffer("window", window, persistent=False)
        bands = mel_bands(config).float()
        self.register_buffer("bands", bands, persistent=False)
        self.window: Tensor
        self.bands: Tensor
        self._blocks = blocks(bands)

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.config.sample_rate / self.config.hop_length

    def forward(
        self, waveforms: Float[Tensor, "batch samples"]
    ) -> Float[Tensor, "batch frames bands"]:
        """Compute the frames of each waveform; fewer samples than a window give none."""
        config = self.config
        count = num_frames(waveforms.shape[1], config.window_length, config.hop_length)
        if count == 0:
            return waveforms.new_zeros(len(waveforms), 0, config.num_bands)
        # Every window is as long as the transform; the added zeros meet the window's.
        needed = (count - 1) * config.hop_length + config.fft_size
        padded = F.pad(waveforms, (0, needed - waveforms.shape[1]))
        windows = padded.unfold(1, config.fft_size, config.hop_length)
        if waveforms.device.type != "cpu" or for_any_length():
            return self._frames(windows)
        # Spectra of a few frames at a time stay in the cache: about twice as fast.
        rows = windows.split(max(1, CACHED_FRAMES // count))
        return torch.cat([self._in_parts(row) for row in rows])

    def _in_parts(
        self, windows: Float[Tensor, "batch frames fft"]
    ) -> Float[Tensor, "batch frames bands"]:
        parts = windows.split(CACHED_FRAMES, dim=1)
        return torch.cat([self._frames(part) for part in parts], dim=1)

    def _frames(
        self, windows: Float[Tensor, "batch frames fft"]
    ) -> Float[Tensor, "batch frames bands"]:
        squares = torch.view_as_real(torch.fft.rfft(windows * self.window)).square()
        # At zero, in silence, the root has no gradient; what is so small ends at the floor.
        magnitudes = (squares[..., 0] + squares[..., 1]).clamp_(min=TINY).sqrt()
        return in_bands(magnitudes, self.bands, self._blocks).clamp_(FLOOR, CEILING).log_()

    def lengths(self, lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Count the frames of waveforms with `lengths` samples."""
        config = self.config
        count = 1 + (lengths - config.window_length).div(config.hop_length, rounding_mode="floor")
        return count.clamp(min=0)


def mel_bands(config: LogMelConfig) -> Float[Tensor, "bins bands"]:
    """Build the triangles: linear in mel(f) = 1127 ln(1 + f/700), peak 1, nothing at 0 Hz."""
    bins = config.fft_size // 2 + 1
    hertz = torch.linspace(0.0, config.sample_rate / 2, bins, dtype=torch.float64)
    low, high = _mel(torch.tensor([config.low, config.high], dtype=torch.float64)).tolist()
    edges = torch.linspace(low, high, config.num_bands + 2, dtype=torch.float64)
    bands = triangles(_mel(hertz), edges)
    bands[0] = 0.0
    return bands


def _mel(hertz: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    return 1127.0 * torch.log1p(hertz / 700.0)
