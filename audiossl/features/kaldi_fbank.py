"""Kaldi's log-mel filter bank, batched, on any device and exact with lengths.

Windows of 25 ms every 10 ms, centered on multiples of the hop (`snip_edges=false`): samples before
the start and behind the end are mirrored. From each window its mean is taken, then it is
pre-emphasized and multiplied with Povey's window; power spectrum of 512 points; triangles that are
linear in mel; natural logarithm, floored at fp32's epsilon. No dither.

Kaldi does this to each window. Here the waveform is pre-emphasized once, after which (1 - 0.97)
times the mean is left to take from each window: the same, because the one sample of a window that
Kaldi pre-emphasizes otherwise, the first, is multiplied by zero.

Source: Kaldi's feature extraction, of which `torchaudio.compliance.kaldi.fbank` is an oracle.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from audiossl.configs import Count, Nonnegative, Positive, Share
from audiossl.features.bands import blocks, in_bands, triangles
from audiossl.nn.lengths import padding_mask

PADDING = math.log(1e-10)
"""Stands behind the last frame of a sequence; lower than any frame's value."""
FLOOR = torch.finfo(torch.float32).eps
CACHED_FRAMES = 256
"""Frames that a CPU works on at once."""


@dataclass(frozen=True, kw_only=True)
class KaldiFbankConfig:
    """Settings of the front end; the defaults are those of SPEAR and its relatives."""

    sample_rate: Count = 16000
    """Sample rate of the waveforms in Hz."""
    window_length: Count = 400
    """Number of samples in an analysis window."""
    hop_length: Count = 160
    """Number of samples from one frame to the next."""
    fft_size: Count = 512
    """Number of points of the Fourier transform; windows are zero-padded on the right."""
    num_bins: Count = 128
    """Number of mel bins."""
    low: Nonnegative = 20.0
    """Lower edge of the first bin in Hz."""
    high: Positive = 7600.0
    """Upper edge of the last bin in Hz."""
    preemphasis: Share = 0.97
    """Pre-emphasis coefficient: share of the previous sample that is subtracted from each."""


class KaldiFbank(nn.Module):
    """Log-mel frames of a batch of waveforms in [-1, 1]."""

    def __init__(self, config: KaldiFbankConfig) -> None:
        super().__init__()
        self.config = config
        bins = mel_bins(config).float()
        window = F.pad(
            povey_window(config.window_length), (0, config.fft_size - config.window_length)
        )
        self.register_buffer("window", window.float(), persistent=False)
        self.register_buffer("bins", bins, persistent=False)
        self.window: Tensor
        self.bins: Tensor
        self._blocks = blocks(bins)

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
            if waveforms.device.type == "cpu" and not torch.compiler.is_compiling():
                rows = zip(waveforms.float(), lengths.tolist(), strict=True)
                return torch.stack([self._row(row[:length], count) for row, length in rows])
            frames = self._frames(self._mirrored(waveforms.float(), lengths, count))
        return frames.masked_fill(padding_mask(self.lengths(lengths), count)[..., None], PADDING)

    def _row(self, waveform: Float[Tensor, " samples"], count: int) -> Float[Tensor, "count bins"]:
        """Compute one row on a CPU, whose cache holds the spectra of a few frames."""
        config, length = self.config, len(waveform)
        valid = (length + config.hop_length // 2) // config.hop_length
        if not valid:
            return waveform.new_full((count, config.num_bins), PADDING)
        mirrored = self._mirrored_row(waveform, valid)
        parts = []
        for first in range(0, valid, CACHED_FRAMES):
            last = min(first + CACHED_FRAMES, valid) - 1
            end = last * config.hop_length + config.window_length
            parts.append(self._frames(mirrored[first * config.hop_length : end]))
        return F.pad(torch.cat(parts), (0, 0, 0, count - valid), value=PADDING)

    def _mirrored(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"], count: int
    ) -> Float[Tensor, "batch more"]:
        """Continue each waveform by its mirror image, to `count` windows centered on hops."""
        before, total = self._extent(count)
        index = torch.arange(-before, total - before, device=waveforms.device)
        period = 2 * lengths.clamp(min=1)[:, None]
        index = index % period
        return waveforms.gather(1, torch.minimum(index, period - 1 - index))

    def _mirrored_row(
        self, waveform: Float[Tensor, " samples"], count: int
    ) -> Float[Tensor, " more"]:
        """Do the same to one waveform: its ends are turned around, the rest is copied."""
        length, (before, total) = len(waveform), self._extent(count)
        if length < self.config.window_length:  # mirrored more than once
            return self._mirrored(waveform[None], torch.tensor([length]), count)[0]
        behind = total - before - length
        return torch.cat([waveform[:before].flip(0), waveform, waveform[length - behind :].flip(0)])

    def _extent(self, count: int) -> tuple[int, int]:
        """Count the samples before a waveform, and those under all windows."""
        config = self.config
        before = (config.window_length - config.hop_length) // 2
        return before, (count - 1) * config.hop_length + config.window_length

    def _frames(
        self, samples: Float[Tensor, "*batch samples"]
    ) -> Float[Tensor, "*batch frames bins"]:
        """Analyze whole windows."""
        config = self.config
        means = samples.unfold(-1, config.window_length, config.hop_length).mean(-1, keepdim=True)
        before = F.pad(samples, (1, -1))
        # Neighbors are alike: their difference is exact, where a difference of products is not.
        emphasized = (samples - before).add_(before, alpha=1.0 - config.preemphasis)
        padded = F.pad(emphasized, (0, config.fft_size - config.window_length))
        windows = padded.unfold(-1, config.fft_size, config.hop_length)
        windows = torch.sub(windows, means, alpha=1.0 - config.preemphasis) * self.window
        squares = torch.view_as_real(torch.fft.rfft(windows)).square()
        powers = squares[..., :-1, 0] + squares[..., :-1, 1]
        return in_bands(powers, self.bins, self._blocks).clamp_(min=FLOOR).log_()


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
    edges = low + torch.arange(config.num_bins + 2, dtype=torch.float32) * step
    width = config.sample_rate / config.fft_size
    frequency = width * torch.arange(config.fft_size // 2, dtype=torch.float32)
    return triangles(1127.0 * (1.0 + frequency / 700.0).log(), edges)
