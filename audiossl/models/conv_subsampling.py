"""Zipformer's convolutional front: filter banks at 100 Hz to frames at 50 Hz.

Three convolutions over time and frequency, a ConvNeXt block, a projection: Zipformer (Yao et al.,
2024), section 3, in the form of its public implementation. T feature frames make (T - 7) // 2
frames. All images are kept channels-last, so that the pointwise maps and the last projection are
matrix products without a transpose.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from audiossl.models.zipformer.bias_norm import BiasNorm
from audiossl.models.zipformer.kernels.blocks import in_blocks, runs_on_caches
from audiossl.models.zipformer.kernels.depthwise import depthwise_image
from audiossl.models.zipformer.swoosh import SWOOSH_L, SWOOSH_R, activate, activated_linear
from audiossl.models.zipformer.training.regularizers import Balance, GradientRegularizers, Whitening
from audiossl.models.zipformer.training.step import FrontEndStep
from audiossl.nn.lengths import valid_mask

CHANNELS = (8, 32, 128)
"""Of the three convolutions."""
LEAST_FRAMES = 9
"""Feature frames that make one frame."""


class ConvSubsampling(nn.Module):
    """Features to frames of half the rate; names of modules are those of public checkpoints.

    Example:
        >>> from audiossl.models.zipformer.training.step import FrontEndStep
        >>> ConvSubsampling(80, 32)(torch.randn(1, 107, 80), FrontEndStep()).shape
        torch.Size([1, 50, 32])
    """

    def __init__(self, num_bins: int, dim: int) -> None:
        super().__init__()
        first, second, third = CHANNELS
        self.conv = nn.ModuleDict(
            {
                "0": ShiftedConv2d(1, first, 3, padding=(0, 1)),
                "4": ShiftedConv2d(first, second, 3, stride=2),
                "7": ShiftedConv2d(second, third, 3, stride=(1, 2)),
            }
        )
        self.convnext = ConvNeXt(third)
        self.width = ((num_bins - 1) // 2 - 1) // 2
        self.out = nn.Linear(third * self.width, dim)
        self.out_norm = BiasNorm(dim)

    def forward(
        self,
        features: Float[Tensor, "batch frames bins"],
        step: FrontEndStep,
        ends: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch fewer dim"]:
        """Convolve, project and normalize.

        Args:
            features: At least `LEAST_FRAMES` frames.
            step: What this step of training adds.
            ends: Where given, the ConvNeXt block sees zeros behind these frames of each sequence,
                as it would if the sequence were alone, and not what the padding has become.
        """
        regularizers = step.regularizers
        image = self.conv["0"](features[:, None])
        image = _balanced(_scaled(image, step.gradient_scale), regularizers, Balance.CONVOLUTION_1)
        image = image.contiguous(memory_format=torch.channels_last)
        image = self.conv["4"](activate(image, SWOOSH_R))
        image = _balanced(image, regularizers, Balance.CONVOLUTION_2)
        image = self.conv["7"](activate(image, SWOOSH_R))
        image = activate(_balanced(image, regularizers, Balance.CONVOLUTION_3), SWOOSH_R)
        if ends is not None and not _all_valid(ends, image):
            image = image * valid_mask(ends, image.shape[2])[:, None, :, None]
        image = self.convnext(image, regularizers, step.convnext)
        frames = regularizers.whiten(self._project(image), Whitening.FRONT_END)
        frames = self.out_norm(frames, step.norm)
        return frames if step.dropout is None else frames * step.dropout

    def _project(
        self, image: Float[Tensor, "batch frames width channels"]
    ) -> Float[Tensor, "batch frames dim"]:
        # Checkpoints count channels before frequencies: the weight is turned, not the images.
        weight = self.out.weight.unflatten(1, (CHANNELS[-1], self.width)).transpose(1, 2)
        return F.linear(image.flatten(2), weight.flatten(1), self.out.bias)


class ConvNeXt(nn.Module):
    """x + pointwise2(SwooshL(pointwise1(depthwise(x)))), as ConvNeXt (Liu et al., 2022)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise_conv = Depthwise(channels, 7)
        self.pointwise_conv1 = Pointwise(channels, 3 * channels)
        self.pointwise_conv2 = Pointwise(3 * channels, channels)

    def forward(
        self,
        image: Float[Tensor, "batch channels frames width"],
        regularizers: GradientRegularizers,
        keep: Float[Tensor, "batch 1 1"] | None,
    ) -> Float[Tensor, "batch frames width channels"]:
        """Mix neighbors in time and frequency; `keep` is 0 for sequences that go past."""
        mixed = self.depthwise_conv(image).permute(0, 2, 3, 1)
        if torch.is_grad_enabled():
            change = self._change(mixed, regularizers)
        else:
            # The wider image is the largest tensor of all; nobody will ask for it again.
            change = in_blocks(lambda some: self._change(some, regularizers), mixed)
        if keep is not None:
            change = change * keep[..., None]
        image = image.permute(0, 2, 3, 1)
        output = regularizers.balance(image + change, Balance.CONVNEXT_OUTPUT)
        return regularizers.whiten(output, Whitening.CONVNEXT_OUTPUT)

    def _change(
        self,
        mixed: Float[Tensor, "batch frames width channels"],
        regularizers: GradientRegularizers,
    ) -> Float[Tensor, "batch frames width channels"]:
        wide, narrow, shift = self.pointwise_conv1, self.pointwise_conv2, SWOOSH_L.shift
        shifted = F.linear(mixed, wide.matrix, wide.bias - shift)
        shifted = regularizers.balance(shifted, Balance.CONVNEXT_HIDDEN, plus=shift)
        return activated_linear(shifted, narrow.matrix, narrow.bias, SWOOSH_L)


class ShiftedConv2d(nn.Conv2d):
    """A convolution to x - shift, of which SwooshR is computed."""

    bias: nn.Parameter

    def forward(
        self, image: Float[Tensor, "batch channels frames width"]
    ) -> Float[Tensor, "batch more_channels fewer_frames fewer_width"]:
        """Convolve."""
        return self._conv_forward(image, self.weight, self.bias - SWOOSH_R.shift)


class Depthwise(nn.Conv2d):
    """Each channel convolved with its own kernel."""

    bias: nn.Parameter

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels)

    def forward(
        self, image: Float[Tensor, "batch channels frames width"]
    ) -> Float[Tensor, "batch channels frames width"]:
        """Convolve an image that is kept channels-last."""
        return depthwise_image(image, self.weight, self.bias)


class Pointwise(nn.Conv2d):
    """A 1 x 1 convolution, which is a linear map of what is stored channels-last."""

    bias: nn.Parameter

    def __init__(self, channels: int, more_channels: int) -> None:
        super().__init__(channels, more_channels, 1)

    @property
    def matrix(self) -> Float[Tensor, "more_channels channels"]:
        """The weight as a linear map has it."""
        return self.weight.flatten(1)


def _all_valid(ends: Tensor, image: Tensor) -> bool:
    """Whether nothing is padding, as far as that is known without waiting for a device."""
    return runs_on_caches(image) and bool((ends >= image.shape[2]).all())


def _balanced(image: Tensor, regularizers: GradientRegularizers, kind: Balance) -> Tensor:
    last = image.permute(0, 2, 3, 1)
    return regularizers.balance(last, kind, plus=SWOOSH_R.shift).permute(0, 3, 1, 2)


def _scaled(image: Tensor, gradient_scale: float) -> Tensor:
    return image if gradient_scale == 1.0 else _ScaledGradient.apply(image, gradient_scale)


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.scale, None
