"""Kaldi's filter bank, one row of a batch after the other, for networks that were trained on it.

Windows lie in the waveform (`snip_edges`); without dither. torchaudio computes them.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchaudio.compliance import kaldi

from audiossl.nn.lengths import valid_mask

WINDOW, HOP = 400, 160
"""Samples of a window and from one to the next, at 16 kHz."""


def num_frames(lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
    """Count the windows that lie in waveforms of so many samples."""
    return ((lengths - WINDOW) // HOP + 1).clamp(min=0)


def filter_bank(
    waveforms: Float[Tensor, "batch samples"],
    lengths: Int[Tensor, " batch"],
    *,
    num_bins: int,
    scale: float = 1.0,
    window: str = "povey",
    centered: bool = False,
) -> Float[Tensor, "batch frames bins"]:
    """Compute log-mel frames of the valid part of each row; zeros behind a row's last one.

    Args:
        waveforms: At 16 kHz.
        lengths: Valid samples.
        num_bins: Mel bins, from 20 Hz to 8 kHz.
        scale: Factor before everything: 2^15 where networks were trained on 16-bit integers.
        window: "povey" or "hanning".
        centered: Whether the mean of the waveform is taken from it first.
    """
    count = int(num_frames(lengths).max())
    frames = waveforms.new_zeros(len(waveforms), count, num_bins, dtype=torch.float32)
    # Autocast would round power spectra, whose range is that of float32.
    with torch.autocast(waveforms.device.type, enabled=False):
        for row, length in enumerate(lengths.tolist()):
            if length < WINDOW:
                continue
            waveform = waveforms[row : row + 1, :length].float()
            waveform = waveform - waveform.mean() if centered else waveform
            bank = kaldi.fbank(
                waveform * scale, num_mel_bins=num_bins, window_type=window, dither=0.0
            )
            frames[row, : len(bank)] = bank
    return frames


def standardized_bins(
    frames: Float[Tensor, "batch frames bins"], num_frames: Int[Tensor, " batch"]
) -> Float[Tensor, "batch frames bins"]:
    """Bring each bin to zero mean and unit variance over the valid frames of its row."""
    valid = valid_mask(num_frames, frames.shape[1])[..., None]
    count = num_frames[:, None, None]
    mean = (frames * valid).sum(dim=1, keepdim=True) / count.clamp(min=1)
    centered = (frames - mean) * valid
    variance = centered.square().sum(dim=1, keepdim=True) / (count - 1).clamp(min=1)
    return centered * torch.rsqrt(variance + 1e-7)
