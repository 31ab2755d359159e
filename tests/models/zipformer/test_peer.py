"""Gradients of training against the public network: padded batches, all regularizers acting."""

import random
import sys
from dataclasses import replace

import jaxtyping
import pytest
import torch

from audiossl.models.zipformer.config import TINY
from audiossl.models.zipformer.model import Zipformer
from audiossl.models.zipformer.training.balancing import bounds
from audiossl.models.zipformer.training.limits import ParameterLimit
from audiossl.models.zipformer.training.regularizers import (
    BALANCERS,
    SCORE_PENALTY,
    WHITENERS,
    Balance,
    GradientRegularizers,
    Whitening,
    _at,
)
from audiossl.models.zipformer.training.schedules import LEAST_BYPASS, Progress
from audiossl.models.zipformer.training.step import (
    FrontEndStep,
    LayerLimits,
    LayerStep,
    StackStep,
    TrainingStep,
)
from tests.benchmarks import zipformer_peer


def random_config(dice):
    strides = tuple(dice.choice([1, 2, 4]) for _ in range(dice.choice([2, 3])))
    return replace(
        TINY, dim=dice.choice([16, 24, 40]), feed_forward_dim=dice.choice([32, 48]),
        num_heads=dice.choice([2, 4]), query_dim=dice.choice([4, 8]), value_dim=dice.choice([4, 6]),
        position_query_dim=dice.choice([2, 4]), position_dim=dice.choice([16, 48]),
        num_layers=tuple(dice.choice([1, 2]) for _ in strides), strides=strides,
        kernel_sizes=tuple(dice.choice([3, 7, 15]) for _ in strides),
        num_bins=dice.choice([24, 40]), unmasked_dim=8, output_stride=2,
    )  # fmt: skip


def acting(batch_count):
    """Everything acts with the strength that it has in the public network where it acts."""
    progress = Progress(0, batch_count)
    balancers = [
        bounds(
            (_at(progress, b.least_positive), _at(progress, b.greatest_positive)),
            (_at(progress, b.least_absolute), _at(progress, b.greatest_absolute)),
        )
        for b in (BALANCERS[kind] for kind in Balance)
    ]
    whiteners = [
        (_at(progress, w.limit), w.strength) for w in (WHITENERS[kind] for kind in Whitening)
    ]
    return GradientRegularizers(torch.tensor(balancers), torch.tensor(whiteners), SCORE_PENALTY)


def step_of(config, regularizers, batch_count):
    acts = torch.tensor(True)
    bypass = ParameterLimit(torch.tensor(LEAST_BYPASS.at(Progress(0, batch_count))), 1.0, acts)
    norm = ParameterLimit(torch.tensor(-1.5), 1.5, acts)
    layer = LayerStep(regularizers, limits=LayerLimits(bypass, bypass, norm))
    stacks = tuple(StackStep((layer,) * n, combiner=bypass) for n in config.num_layers)
    return TrainingStep(FrontEndStep(regularizers, 0.2, norm=norm), stacks)


def gradients(network, encode, features, lengths, target):
    vectors = encode(features, lengths)
    valid = torch.arange(vectors.shape[1]) < ((lengths[:, None] - 7) // 2 + 1) // 2
    (vectors * target[:, : vectors.shape[1]] * valid[..., None]).sum().backward()
    return vectors, {n: p.grad for n, p in network.named_parameters() if p.grad is not None}


def networks(seed):
    """Ours, and the public one with the same weights."""
    dice = random.Random(seed)
    config, batch_count = random_config(dice), dice.choice([0.0, 1000.0, 9000.0, 1e5])
    torch.manual_seed(seed)
    ours, theirs = Zipformer(config).train().double(), zipformer_peer.build(config).double()
    with torch.no_grad():
        for name, weight in ours.named_parameters():
            # Far from the start, so that limits are exceeded; scores reach beyond 25.
            if weight.ndim:
                size = 2.0 if "attn_weights.in" in name else 1.0
                weight.mul_((0.5 * torch.randn(())).exp() * size)
            weight.add_(0.02 * torch.randn(weight.shape))
    theirs.load_state_dict(ours.state_dict())
    zipformer_peer.act(theirs, batch_count)
    return ours, theirs, batch_count


def padded_batch(config):
    lengths = torch.tensor([61, 43, 24])
    features = 3.0 * torch.randn(3, 61, config.num_bins).double() - 6.0
    features[1, 43:], features[2, 24:] = -23.0, -23.0
    return features, lengths, torch.randn(3, 64, config.dim)


@pytest.fixture(autouse=True)
def _no_chance_and_no_compiler(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    # The peer's activations are not compiled then.
    monkeypatch.setenv("K2_ONNX_EXPORT", "1")


@pytest.mark.parametrize("seed", range(20))
def test_gradients_of_training_are_those_of_the_public_network(seed, monkeypatch):
    ours, theirs, batch_count = networks(seed)
    # Its regularizers compute in float32, however little a channel varies beside its mean.
    monkeypatch.setattr(sys.modules["zipformer.modules.scaling"], "torch", zipformer_peer.Doubled())
    # What the public network draws lots for happens, and nothing is skipped or dropped.
    monkeypatch.setattr(random, "random", lambda: 0.0)
    step = step_of(ours.config, acting(batch_count), batch_count)
    ours.__dict__["_training_step"] = lambda *_, **__: step
    batch = padded_batch(ours.config)
    mine, own = gradients(ours, lambda *given: ours.encode_features(*given).vectors, *batch)
    yours, its = gradients(theirs, lambda *given: theirs(*given)[0], *batch)
    torch.testing.assert_close(mine, yours, atol=1e-4, rtol=1e-4)
    assert own.keys() == its.keys()
    errors = {n: float((own[n] - its[n]).norm() / its[n].norm()) for n in its}
    worst = max(errors, key=errors.__getitem__)
    print(f"largest relative difference of gradients {errors[worst]:.1e}, of {worst}")
    assert errors[worst] < 1e-3


@pytest.mark.parametrize(
    "without", [{"score_penalty": 0.0}, {"balance_limits": None}, {"whiten_limits": None}]
)
def test_each_regularizer_acts_in_that_comparison(without):
    ours, _, batch_count = networks(0)
    features, lengths, target = padded_batch(ours.config)
    found = []
    for regularizers in (acting(batch_count), replace(acting(batch_count), **without)):
        step = step_of(ours.config, regularizers, batch_count)
        ours.__dict__["_training_step"] = lambda *_, step=step, **__: step
        ours.zero_grad()
        encode = lambda *given: ours.encode_features(*given).vectors  # noqa: E731
        _, own = gradients(ours, encode, features, lengths, target)
        found.append(own["encoder_embed.conv.4.weight"].clone())
    assert float((found[0] - found[1]).norm() / found[0].norm()) > 1e-3
