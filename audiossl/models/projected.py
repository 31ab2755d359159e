"""A convolutional network on samples, on MDCT coefficients, or on magnitudes of a tight STFT.

Three views of one waveform that lose nothing of it: blocks of samples, an orthonormal basis, an
overcomplete frame (`features.lapped`). Their values go through the inverse hyperbolic sine, which
keeps signs and compresses large ones, then through residual convolutions over time. What lies
behind the end of a clip is zero before every convolution.

Source: the encoders of Demirel and Holz, "Learning without augmenting" (NeurIPS 2025), of
physiological signals, are residual networks of this kind, on samples, a Fourier transform of the
whole window and a wavelet transform. Ours: MDCT and STFT in their place, so that time is kept, and
one architecture for all three.
"""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor, nn

from audiossl.configs import Count, Positive
from audiossl.features.lapped import (
    MDCT_OVERLAP,
    STFT_OVERLAP,
    lapped,
    mdct,
    num_frames,
    tight_stft,
)
from audiossl.models.encoder import Context, FeatureEncoder
from audiossl.nn.frames import Frames
from audiossl.nn.lengths import check_lengths, valid_mask
from audiossl.nn.pooling import masked_mean

View = Literal["waveform", "mdct", "stft"]
OVERLAPS: dict[View, int] = {"waveform": 1, "mdct": MDCT_OVERLAP, "stft": STFT_OVERLAP}


@dataclass(frozen=True, kw_only=True)
class ProjectedConfig:
    """A view of the waveform, and the network behind it."""

    kind: Literal["projected"] = "projected"
    view: View = "waveform"
    """Coefficients of the input: blocks of samples, MDCT, or magnitudes of a tight STFT."""
    sample_rate: Count = 16000
    """Sample rate of the waveforms in Hz."""
    hop: Count = 160
    """Number of samples from one frame of coefficients to the next."""
    scale: Positive = 100.0
    """Factor of coefficients before the inverse hyperbolic sine."""
    dim: Count = 128
    """Dimension of the output."""
    blocks: Count = 4
    """Number of residual blocks; the first two halve the frame rate."""
    kernel: Count = 5
    """Number of frames under a convolution; an odd one."""


class Projected(FeatureEncoder):
    """Waveforms to frames, at a quarter of the rate of hops.

    Example:
        >>> import torch
        >>> encoder = Projected(ProjectedConfig(view="mdct", dim=16))
        >>> frames = encoder(torch.randn(1, 16000), torch.tensor([16000]))
        >>> frames.vectors.shape, frames.frame_rate
        (torch.Size([1, 26, 16]), 25.0)
    """

    def __init__(self, config: ProjectedConfig) -> None:
        super().__init__()
        self.config = config
        self.sample_rate, self.dim = config.sample_rate, config.dim
        self.num_bins = {"stft": 2 * config.hop + 1}.get(config.view, config.hop)
        self.feature_rate = config.sample_rate / config.hop
        self.input = nn.Linear(self.num_bins, config.dim)
        strides = [2, 2][: config.blocks] + [1] * (config.blocks - 2)
        self.blocks = nn.ModuleList(_Block(config, stride) for stride in strides)
        self.norm = nn.LayerNorm(config.dim)
        self.frame_rate = self.feature_rate / (2 ** min(2, config.blocks))

    def features(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch frames bins"], Int[Tensor, " batch"]]:
        """Compute coefficients; what is behind the end of a waveform counts as zero."""
        view, hop = self.config.view, self.config.hop
        valid = waveforms.masked_fill(~valid_mask(lengths, waveforms.shape[1]), 0.0)
        match view:
            case "mdct":
                coefficients = mdct(valid, hop)
            case "stft":
                coefficients = tight_stft(valid, hop)
            case "waveform":
                coefficients = lapped(valid, hop, 1)
        return coefficients, num_frames(lengths, hop, OVERLAPS[view])

    def encode_features(
        self,
        features: Float[Tensor, "batch frames bins"],
        feature_lengths: Int[Tensor, " batch"],
        context: Context | None = None,  # noqa: ARG002 - depends on neither chance nor progress
    ) -> Frames:
        """Encode coefficients.

        Raises:
            UserError: Lengths do not belong to the batch.
        """
        check_lengths(feature_lengths, *features.shape[:2])
        hidden, lengths = self.input((self.config.scale * features).asinh()), feature_lengths
        for block in self.blocks:
            hidden, lengths = block(hidden, lengths)
        vectors = self.norm(hidden)
        clip = masked_mean(vectors, lengths)
        return Frames(vectors, lengths, self.frame_rate, pooled=clip)


class _Block(nn.Module):
    """Normalization, convolution, GELU, mixing of channels, beside what was there."""

    def __init__(self, config: ProjectedConfig, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.norm = nn.LayerNorm(config.dim)
        self.convolution = nn.Conv1d(
            config.dim, config.dim, config.kernel, stride, padding=config.kernel // 2
        )
        self.mix = nn.Linear(config.dim, config.dim)

    def forward(
        self, frames: Float[Tensor, "batch frames dim"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch fewer dim"], Int[Tensor, " batch"]]:
        valid = valid_mask(lengths, frames.shape[1])[..., None]
        changed = self.convolution(self.norm(frames).masked_fill(~valid, 0.0).mT).mT
        changed = self.mix(nn.functional.gelu(changed))
        lengths = (lengths + self.stride - 1).div(self.stride, rounding_mode="floor")
        return frames[:, :: self.stride] + changed, lengths
