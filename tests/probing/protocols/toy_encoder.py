"""An encoder that is the same for this package and for others: random bands of a spectrum."""

import torch
from torch import nn

from audiossl.nn.frames import Frames


class Toy(nn.Module):
    """Log energies of 24 random mixtures of the bins of a short-time spectrum, 50 a second."""

    def __init__(self) -> None:
        super().__init__()
        self.sample_rate, self.frame_rate, self.dim, self.clip_dim = 16_000, 50.0, 24, 24
        draws = torch.rand(24, 161, generator=torch.Generator().manual_seed(0))
        self.mixtures = nn.Parameter(draws.square())

    def forward(self, waveforms, lengths=None):
        if lengths is None:
            lengths = torch.full((len(waveforms),), waveforms.shape[1])
        pieces = waveforms[:, : waveforms.shape[1] // 320 * 320].unflatten(1, (-1, 320))
        energies = torch.fft.rfft(pieces).abs().square() @ self.mixtures.T
        return Frames((energies + 1e-3).log(), lengths // 320, self.frame_rate)
