"""Depthwise convolutions of channels-last data, which need no transpose on a CPU.

Elsewhere they are torch's. On a CPU, oneDNN is fast in some shapes only, by factors of 3 to 30:

* frames are images one row high, and not one column wide;
* the gradient by the input is the convolution with the kernel turned around;
* the gradient by the weight is computed column by column of the kernel, time being the height.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def depthwise_frames(
    frames: Float[Tensor, "batch frames dim"],
    weight: Float[Tensor, "dim 1 kernel"],
    bias: Float[Tensor, " dim"],
) -> Float[Tensor, "batch frames dim"]:
    """Convolve each channel over time with its own odd kernel, to as many frames.

    Example:
        >>> kernel = torch.tensor([[[1.0, 0.0, 0.0]]])  # takes the frame before
        >>> frames = torch.tensor([[[1.0], [2.0], [3.0]]])
        >>> depthwise_frames(frames, kernel, torch.zeros(1)).flatten()
        tensor([0., 1., 2.])
    """
    if frames.device.type == "cpu":
        return depthwise_image(frames.mT.unsqueeze(2), weight.unsqueeze(2), bias).squeeze(2).mT
    padding = weight.shape[-1] // 2
    return F.conv1d(frames.mT, weight, bias, padding=padding, groups=len(weight)).mT


def depthwise_image(
    image: Float[Tensor, "batch channels height width"],
    weight: Float[Tensor, "channels 1 kernel_height kernel_width"],
    bias: Float[Tensor, " channels"],
) -> Float[Tensor, "batch channels height width"]:
    """Convolve each channel of an image, kept channels-last, with its own odd kernel."""
    if image.device.type == "cpu":
        return _Depthwise.apply(image, weight, bias)
    return _convolve(image, weight, bias)


def _convolve(image: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    padding = [size // 2 for size in weight.shape[2:]]
    return F.conv2d(image, weight, bias, padding=padding, groups=len(weight))


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(image, weight)
        return _convolve(image, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        image, weight = ctx.saved_tensors
        # Under autocast the weight is fp32, and what flows is not.
        image, weight = image.to(gradient.dtype), weight.to(gradient.dtype)
        to_image = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            to_image = _convolve(gradient, weight.flip(2, 3))
        if ctx.needs_input_grad[1]:
            to_weight = _weight_gradient(gradient, image, weight)
        if ctx.needs_input_grad[2]:
            to_bias = gradient.sum(dim=(0, 2, 3))
        return to_image, to_weight, to_bias


def _weight_gradient(gradient: Tensor, image: Tensor, weight: Tensor) -> Tensor:
    height, width = weight.shape[2:]
    if height == 1:
        return _weight_gradient(gradient.mT, image.mT, weight.mT).mT
    padded = image if width == 1 else F.pad(image, (width // 2, width // 2))
    columns = [
        _column_gradient(gradient, padded[..., start : start + image.shape[3]], weight[..., :1])
        for start in range(width)
    ]
    return torch.cat(columns, dim=-1)


def _column_gradient(gradient: Tensor, image: Tensor, column: Tensor) -> Tensor:
    padding, groups = [column.shape[2] // 2, 0], len(column)
    _, to_column, _ = torch.ops.aten.convolution_backward(
        gradient, image, column, [groups], [1, 1], padding, [1, 1], False, [0, 0], groups,
        [False, True, False],
    )  # fmt: skip
    return to_column
