"""First values of a Zipformer's weights, which start every module small beside what goes past it.

Source: the public implementation. Weights of a linear map are torch's, times a scale; biases are
uniform in ±0.1 of the scale. Everything else keeps what its constructor gave it.
"""

import torch
from torch import nn

from audiossl.models.conv_subsampling import ConvNeXt
from audiossl.models.zipformer.attention import AttentionWeights, NonlinearAttention, SelfAttention
from audiossl.models.zipformer.convolution import ConvolutionModule
from audiossl.models.zipformer.feed_forward import FeedForward


def initialize(module: nn.Module) -> None:
    """Scale the linear maps of one module; for `nn.Module.apply`."""
    match module:
        case AttentionWeights():
            _scale(module.in_proj, module.layout.query_dim**-0.25)
            _scale(module.linear_pos, 0.05)
        case SelfAttention() | NonlinearAttention() | ConvolutionModule():
            _scale(module.out_proj, 0.05)
        case FeedForward():
            _scale(module.out_proj, 0.1)
        case ConvNeXt():
            _scale(module.pointwise_conv2, 0.01)


def _scale(linear: nn.Linear | nn.Conv2d, scale: float) -> None:
    with torch.no_grad():
        linear.weight.mul_(scale)
        if linear.bias is not None:
            linear.bias.uniform_(-0.1 * scale, 0.1 * scale)
