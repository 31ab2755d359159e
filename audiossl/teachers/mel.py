"""Mel power spectra of padded batches, in the dialects of the networks that were trained on them.

What lies beyond a waveform's end is what the dialect says, zeros or the mirrored waveform, and
never what the batch was padded with.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from audiossl.teachers.teacher import zero_padding


@dataclass(frozen=True, kw_only=True)
class MelDialect:
    """How one network's mel spectra are made."""

    sample_rate: int
    """Hz."""
    window: int
    """Samples of the Hann window, which is also the length of the Fourier transform."""
    hop_length: int
    """Samples between frames."""
    edges: Literal["whole", "zeros", "mirror"]
    """"whole": frames are windows that lie in the waveform, the first starting at sample 0. The
    others center frame t on sample t · hop_length and continue the waveform with zeros, or by
    mirroring it at its first and last sample."""


class MelSpectrogram(nn.Module):
    """Waveforms to mel power spectra; filters are given, because dialects differ in them most."""

    window: Float[Tensor, " window"]
    filters: Float[Tensor, "bins mels"]

    def __init__(self, dialect: MelDialect, filters: Float[Tensor, "bins mels"]) -> None:
        super().__init__()
        self.dialect = dialect
        self.register_buffer("window", torch.hann_window(dialect.window), persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def num_frames(self, lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Count the frames of waveforms of so many samples; too short to mirror is none."""
        window, hop_length = self.dialect.window, self.dialect.hop_length
        if self.dialect.edges == "whole":
            return (1 + (lengths - window) // hop_length).clamp(min=0)
        shortest = window // 2 if self.dialect.edges == "mirror" else 0
        return torch.where(lengths > shortest, 1 + lengths // hop_length, 0)

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch frames mels"], Int[Tensor, " batch"]]:
        """Compute power in each mel band; frames behind a row's last one are undefined."""
        window = self.dialect.window
        # Autocast would round power spectra, whose range is that of float32.
        with torch.autocast(waveforms.device.type, enabled=False):
            waveforms = zero_padding(waveforms.float(), lengths)
            if self.dialect.edges == "mirror":
                waveforms = _mirrored(waveforms, lengths, window // 2)
            elif self.dialect.edges == "zeros":
                waveforms = F.pad(waveforms, (window // 2, window // 2))
            waveforms = F.pad(waveforms, (0, max(0, window - waveforms.shape[1])))
            spectrum = torch.stft(
                waveforms,
                window,
                self.dialect.hop_length,
                window=self.window,
                center=False,
                return_complex=True,
            )
            power = spectrum.real.square() + spectrum.imag.square()
            return power.transpose(1, 2) @ self.filters, self.num_frames(lengths)


def _mirrored(
    waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"], by: int
) -> Float[Tensor, "batch longer"]:
    """Continue each row by its mirror image, at its own end."""
    places = torch.arange(-by, waveforms.shape[1] + by, device=waveforms.device).abs()
    last = (lengths - 1).clamp(min=0)[:, None]
    places = torch.where(places > last, 2 * last - places, places)
    # Rows that are too short have no frames; their places must only exist.
    return waveforms.gather(1, torch.minimum(places.abs(), last))
