"""The wheel `zipformer` as a peer, without the data tools that its package imports in vain.

Installed by `pip install --no-deps zipformer==0.1.3`; tests alone use it.
"""

import sys
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType

import pytest
import torch
from torch import nn

VERSION = "0.1.3"


def build(config):
    """Make the peer's network of a config of ours, at 25 Hz, which is the only rate it has."""
    _import()
    from zipformer.modules.subsampling import Conv2dSubsampling
    from zipformer.modules.zipformer import Zipformer

    stacks = len(config.num_layers)
    encoder = Zipformer(
        output_downsampling_factor=2,
        downsampling_factor=config.strides,
        encoder_dim=(config.dim,) * stacks,
        num_encoder_layers=config.num_layers,
        encoder_unmasked_dim=(config.unmasked_dim,) * stacks,
        query_head_dim=(config.query_dim,) * stacks,
        pos_head_dim=(config.position_query_dim,) * stacks,
        value_head_dim=(config.value_dim,) * stacks,
        num_heads=(config.num_heads,) * stacks,
        feedforward_dim=(config.feed_forward_dim,) * stacks,
        cnn_module_kernel=config.kernel_sizes,
        pos_dim=config.position_dim,
        causal=False,
    )
    return _Peer(Conv2dSubsampling(config.num_bins, config.dim), encoder)


def set_batch_count(network, batch_count):
    """Tell every module of the peer how far training has come."""
    for module in network.modules():
        if hasattr(module, "batch_count"):
            module.batch_count = batch_count


def silence(network):
    """Take out what changes the peer's gradients by chance, and does so in evaluation, too."""
    for module in network.modules():
        if type(module).__name__ in ("Balancer", "Whiten"):
            module.forward = _unchanged
    return network


def act(network, batch_count):
    """Let every regularizer of a peer act in training, and nothing be dropped or skipped.

    What it draws lots for by `random.random` is for the caller to decide.
    """
    set_batch_count(network.train(), batch_count)
    for module in network.modules():
        for name in vars(module).keys() | module._modules.keys():
            if name.endswith(("skip_rate", "layerdrop_rate", "const_attention_rate")):
                module._modules.pop(name, None)
                setattr(module, name, 0.0)
        if type(module).__name__ in ("Dropout2", "Dropout3"):
            module._modules.pop("p", None)
            module.p = 0.0
        if type(module).__name__ == "ActivationDropoutAndLinear":
            module._modules.pop("dropout_p", None)
            module.dropout_p = 0.0
    network.encoder.get_feature_masks = lambda _: [1.0] * len(network.encoder.encoders)


class Doubled:
    """Torch, with float64 in the place of float32."""

    float32 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


class _Peer(nn.Module):
    def __init__(self, encoder_embed, encoder):
        super().__init__()
        self.encoder_embed, self.encoder = encoder_embed, encoder

    def forward(self, features, lengths):
        frames, lengths = self.encoder_embed(features, lengths)
        padding = torch.arange(frames.shape[1]) >= lengths[:, None]
        vectors, lengths = self.encoder(frames.transpose(0, 1), lengths, padding)
        return vectors.transpose(0, 1), lengths


def _import():
    spec = find_spec("zipformer") if "zipformer" not in sys.modules else True
    if spec is None:
        pytest.skip(f"the peer is not installed: pip install --no-deps zipformer=={VERSION}")
    if spec is True:
        return
    package = ModuleType("zipformer")
    package.__path__ = list(spec.submodule_search_locations)
    helpers = ModuleType("zipformer.utils")
    helpers.torch_autocast = _autocast
    sys.modules |= {"zipformer": package, "zipformer.utils": helpers}


def _unchanged(x):
    return x


@contextmanager
def _autocast(device_type="cuda", enabled=True, **settings):
    with torch.autocast(device_type, enabled=enabled and torch.cuda.is_available(), **settings):
        yield
