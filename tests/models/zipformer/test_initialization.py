import pytest
import torch

from audiossl.models.zipformer.config import ZipformerConfig
from audiossl.models.zipformer.model import Zipformer

CONFIG = ZipformerConfig(num_layers=(1,), strides=(1,), kernel_sizes=(31,))


def test_maps_start_as_small_as_the_source_says():
    layer = Zipformer(CONFIG).encoder.encoders[0].layers[0]
    # torch draws a linear map from ±1 / sqrt(inputs).
    expected = [
        (layer.self_attn_weights.in_proj, 32**-0.25, 512),
        (layer.self_attn_weights.linear_pos, 0.05, 48),
        (layer.self_attn1.out_proj, 0.05, 96),
        (layer.nonlin_attention.out_proj, 0.05, 384),
        (layer.conv_module2.out_proj, 0.05, 512),
        (layer.feed_forward3.out_proj, 0.1, 1920),
        (layer.feed_forward3.in_proj, 1.0, 512),
    ]
    for linear, scale, inputs in expected:
        assert float(linear.weight.detach().abs().max()) == pytest.approx(
            scale * inputs**-0.5, rel=0.02
        )
        if scale < 1.0 and linear.bias is not None:
            assert 0.08 * scale < float(linear.bias.detach().abs().max()) <= 0.1 * scale


def test_scales_and_norms_start_as_the_source_says():
    network = Zipformer(CONFIG)
    state = network.state_dict()
    for name, value in state.items():
        if name.endswith("bypass_scale"):
            assert torch.equal(value, torch.full_like(value, 0.5)), name
        if name.endswith("log_scale"):
            assert float(value) == 1.0, name
        if name.endswith("norm.bias"):
            assert 0.0 < float(value.abs().max()) < 1e-3, name
    narrow = network.encoder_embed.convnext.pointwise_conv2.weight.detach()
    assert float(narrow.abs().max()) == pytest.approx(0.01 * 384**-0.5, rel=0.02)
