"""Kaldi's log-mel filter bank, batched, on any device and exact with lengths.

Windows of 25 ms every 10 ms, centered on multiples of the hop (`snip_edges=false`): samples before
the start and behind the end are mirrored. From each window its mean is taken, then it is
pre-emphasized and multiplied with Povey's window; power spectrum of 512 points; triangles that are
linear in mel; natural logarithm, floored at fp32's epsilon. No dither.

Kaldi does this to each window. Here the waveform is pre-emphasized once and the mean is taken from
the spectrum, (1 - 0.97) times the mean times the window's own spectrum: the same, because the one
sample of a window that Kaldi pre-emphasizes otherwise, the first, is multiplied by zero.

Source: Kaldi's feature extraction, of which `torchaudio.compliance.kaldi.fbank` is an oracle.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from audiossl.nn.lengths import padding_mask

PADDING = math.log(1e-10)
"""Stands behind the last frame of a sequence; lower than any frame's value."""
FLOOR = torch.finfo(torch.float32).eps


@dataclass(frozen=True, kw_only=True)
class KaldiFbankConfig:
    """What the front end computes; the defaults are those of SPEAR and its relatives."""

    sample_rate: int = 16000
    """Samples a second of the waveforms, Hz."""
    window_length: int = 400
    """Samples analyzed at once."""
    hop_length: int = 160
    """Samples from one frame to the next."""
    fft_size: int = 512
    """Points of the transform; windows are zero-padded on the right."""
    num_bins: int = 128
    """Mel bins."""
    low: float = 20.0
    """Lower edge of the first bin, Hz."""
    high: float = 7600.0
    """Upper edge of the last bin, Hz."""
    preemphasis: float = 0.97
    """Part of the previous sample that is taken from each."""


class KaldiFbank(nn.Module):
    """Log-mel frames of a batch of waveforms in [-1, 1]."""

    def __init__(self, config: KaldiFbankConfig) -> None:
        super().__init__()
        self.config = config
        window = F.pad(
            povey_window(config.window_length), (0, config.fft_size - config.window_length)
        )
        # What a window filled with the mean becomes after pre-emphasis.
        mean_spectrum = (1.0 - config.preemphasis) * torch.fft.rfft(window)
        self.register_buffer("window", window.float(), persistent=False)
        self.register_buffer("mean_real", mean_spectrum.real.float(), persistent=False)
        self.register_buffer("mean_imag", mean_spectrum.imag.float(), persistent=False)
        self.register_buffer("bins", mel_bins(config).float(), persistent=False)
        self.window: Tensor
        self.mean_real: Tensor
        self.mean_imag: Tensor
        self.bins: Tensor

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.config.sample_rate / self.config.hop_length

    def lengths(self, lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Count the frames of each waveform: its duration in hops, rounded, halves up."""
        hop = self.config.hop_length
        return torch.div(lengths + hop // 2, hop, rounding_mode="floor")

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch frames bins"]:
        """Compute the frames of each waveform; behind its last one stands `PADDING`."""
        config = self.config
        count = (waveforms.shape[1] + config.hop_length // 2) // config.hop_length
        if count == 0:
            return waveforms.new_zeros(len(waveforms), 0, config.num_bins)
        # Autocast would take the dynamic range from what follows.
        with torch.autocast(waveforms.device.type, enabled=False):
            mirrored = self._mirrored(waveforms.float(), lengths, count)
            energies = self._power(mirrored) @ self.bins
            frames = energies.clamp(min=FLOOR).log()
        return frames.masked_fill(padding_mask(self.lengths(lengths), count)[..., None], PADDING)

    def _mirrored(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"], count: int
    ) -> Float[Tensor, "batch more"]:
        """Continue each waveform by its mirror image, to whole windows centered on hops."""
        config = self.config
        before = (config.window_length - config.hop_length) // 2
        total = (count - 1) * config.hop_length + config.window_length
        index = torch.arange(-before, total - before, device=waveforms.device)
        period = 2 * lengths.clamp(min=1)[:, None]
        index = index % period
        return waveforms.gather(1, torch.minimum(index, period - 1 - index))

    def _power(
        self, waveforms: Float[Tensor, "batch samples"]
    ) -> Float[Tensor, "batch frames half_fft"]:
        """Power spectrum of each window, without the bin at the Nyquist frequency."""
        config = self.config
        means = F.avg_pool1d(waveforms, config.window_length, config.hop_length)[:, None]
        before = F.pad(waveforms, (1, -1))
        # Neighbors are alike: their difference is exact, where a difference of products is not.
        emphasized = (waveforms - before).add(before, alpha=1.0 - config.preemphasis)
        # torch.stft wants a whole transform under every window; the added zeros meet the window's.
        padded = F.pad(emphasized, (0, config.fft_size - config.window_length))
        spectra = torch.stft(
            padded, config.fft_size, config.hop_length, window=self.window, center=False,
            return_complex=True,
        )  # fmt: skip
        real = spectra.real - self.mean_real[:, None] * means
        imag = spectra.imag - self.mean_imag[:, None] * means
        return (real.square() + imag.square()).mT[..., :-1]


def povey_window(length: int) -> Float[Tensor, " samples"]:
    """Kaldi's window: Hann's, to the power of 0.85."""
    return torch.hann_window(length, periodic=False, dtype=torch.float64) ** 0.85


def mel_bins(config: KaldiFbankConfig) -> Float[Tensor, "half_fft bins"]:
    """Weights of each bin at the frequencies of the transform, below the Nyquist frequency.

    In fp32, as the networks were trained on it: weights at the edges of a triangle are small
    differences of large numbers, and change in their third digit with the order of operations.
    """
    low, high = (1127.0 * math.log(1.0 + edge / 700.0) for edge in (config.low, config.high))
    step = (high - low) / (config.num_bins + 1)
    number = torch.arange(config.num_bins, dtype=torch.float32)
    left, center, right = (low + (number + offset) * step for offset in (0.0, 1.0, 2.0))
    width = config.sample_rate / config.fft_size
    frequency = width * torch.arange(config.fft_size // 2, dtype=torch.float32)
    at = 1127.0 * (1.0 + frequency / 700.0).log()[:, None]
    rising, falling = (at - left) / (center - left), (right - at) / (right - center)
    return torch.minimum(rising, falling).clamp(min=0.0)
