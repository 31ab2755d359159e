"""What is trained has a gradient: training on several ranks waits for that of every parameter."""

import pytest
import torch
import yaml

from audiossl.configs import from_plain
from audiossl.losses.labels import Outputs
from audiossl.methods.supervised import LoraConfig, Supervised, SupervisedConfig, facts_of
from audiossl.models.build import EncoderConfig, build_encoder
from audiossl.nn.sequence_heads import HeadConfig
from tests.contracts import ENCODERS

STACKS = (
    "{dim: 16, feed_forward_dim: 32, num_layers: [1, 2, 1], strides: [1, 2, 4], kernel_sizes: "
    "[7, 7, 7], num_heads: 2, query_dim: 4, position_dim: 8, value_dim: 4, unmasked_dim: 8}"
)
LAYERS = ([0], [0, 1], [2], [1, 3], [4], [0, 1, 2, 3, 4])
KINDS = {
    **{kind: text for kind, text in ENCODERS.items() if not kind.startswith("python")},
    **{f"layered {layers}": f"{{kind: layered, layers: {layers}, network: {STACKS}}}"
       for layers in LAYERS},
}  # fmt: skip


def _without_gradient(encoder):
    waveforms = torch.randn(2, 16_000, generator=torch.Generator().manual_seed(0))
    frames = encoder.train()(waveforms, torch.tensor([16_000, 12_000]))
    total = frames.vectors.square().sum() + frames.clip.square().sum()
    if total.requires_grad:
        total.backward()
    return {n for n, p in encoder.named_parameters() if p.requires_grad and p.grad is None}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frozen_first", [False, True], ids=["built", "unfrozen"])
def test_every_parameter_that_is_trained_has_a_gradient(kind, frozen_first):
    torch.manual_seed(0)
    encoder = build_encoder(from_plain(EncoderConfig, yaml.safe_load(KINDS[kind]), kind))
    if frozen_first:  # as `load_encoder` and fine-tuning do
        encoder.requires_grad_(False).requires_grad_(True)
    assert _without_gradient(encoder) == set()


@pytest.mark.parametrize(("layers", "trained"), [([1, 3], False), ([4], True)])
def test_what_a_read_layer_depends_on_is_trained(layers, trained):
    """Beside the last stack, of which [1, 3] reads nothing."""
    text = f"{{kind: layered, layers: {layers}, network: {STACKS}}}"
    encoder = build_encoder(from_plain(EncoderConfig, yaml.safe_load(text), "layered"))
    by_stack = [
        {p.requires_grad for n, p in stack.named_parameters() if not n.endswith("s.0.bypass_scale")}
        for stack in encoder.network.encoder.encoders
    ]
    assert by_stack[0] == {True}
    assert all(p.requires_grad for p in encoder.network.encoder_embed.parameters())
    assert (True in by_stack[2]) == trained


def test_low_rank_changes_behind_the_highest_layer_are_not_trained():
    text = f"{{kind: layered, layers: [0, 1], network: {STACKS}}}"
    encoder = build_encoder(from_plain(EncoderConfig, yaml.safe_load(text), "layered"))
    config = SupervisedConfig(input="output", head=HeadConfig(projection=0))
    outputs = Outputs("classes", (3,))
    Supervised(encoder, config, outputs, facts_of(encoder), LoraConfig(rank=2))
    names = {n for n, p in encoder.named_parameters() if p.requires_grad}
    assert names
    assert not any("encoders.1" in name or "encoders.2" in name for name in names)
    assert _without_gradient(encoder) == set()
