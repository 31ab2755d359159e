"""Soft negatives: teacher and queue are the same on any number of ranks, and after a resume."""

import pytest
import torch

from audiossl.batches import DataFacts
from audiossl.data.plan import Position
from audiossl.errors import UserError
from audiossl.methods.soft_negatives import SoftNegatives, SoftNegativesConfig
from audiossl.models.efficientnet import EfficientNet, EfficientNetConfig
from audiossl.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from audiossl.training.loop import train
from tests.training.test_gradient_cache import PAIRS, Source, _Stops
from tests.training.toy import loop_config, place

FACTS = DataFacts(num_items=64, overlap=0.5)


def _method(level="clips", **settings):
    torch.manual_seed(0)
    encoder = PatchTransformer(PatchTransformerConfig(dim=16, layers=1, heads=2))
    config = SoftNegativesConfig(level=level, projection_dim=8, **{"queue": 40, **settings})
    return SoftNegatives(encoder, config, FACTS)


def _trained(folder, level, accumulate=1, source=None):
    method = _method(level)
    train(method, source or Source(), loop_config(6, accumulate=accumulate), place(folder))
    return method.state_dict()


@pytest.mark.parametrize("level", ["clips", "frames"])
def test_ranks_and_parts_of_a_batch_change_nothing(tmp_path, two_processes, level):
    alone = _trained(tmp_path / "1", level)
    assert int(alone["queue.taken"]) == 6 * PAIRS * (1 if level == "clips" else 4)
    parts = _trained(tmp_path / "parts", level, 4)
    for state in (parts, *two_processes.run(_trained, tmp_path / "2", level)):
        for name, value in alone.items():
            torch.testing.assert_close(state[name], value, rtol=1e-3, atol=1e-3, msg=name)


@pytest.mark.parametrize("level", ["clips", "frames"])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, level):
    whole = _trained(tmp_path / "whole", level)
    with pytest.raises(RuntimeError, match="power cut"):
        _trained(tmp_path / "resumed", level, source=_Stops())
    resumed = _trained(tmp_path / "resumed", level)
    for name, value in whole.items():
        assert torch.equal(resumed[name], value), name


def test_the_teacher_follows_and_gets_no_gradient():
    method, batch = _method(momentum=0.9), Source().load(Position())
    for step in range(2):
        method(batch, step, torch.Generator()).total.backward()
        with torch.no_grad():
            for parameter in method.encoder.parameters():
                parameter.add_(1.0)
        before = [p.clone() for p in method.slow_encoder.parameters()]
        method.after_update()
        slow = list(method.slow_encoder.parameters())
        for mine, old, theirs in zip(slow, before, method.encoder.parameters(), strict=True):
            torch.testing.assert_close(mine, 0.9 * old + 0.1 * theirs)
    assert all(p.grad is None for p in slow)
    assert method.predictor.weight.grad.any()


def test_the_teacher_is_in_evaluation_but_for_its_norms():
    encoder = EfficientNet(EfficientNetConfig(width=0.1, depth=0.1))
    slow = SoftNegatives(encoder, SoftNegativesConfig(queue=4), FACTS).train().slow_encoder
    kinds = {type(part).__name__: part.training for part in slow.modules()}
    assert kinds["BatchNorm2d"]
    assert not kinds["EfficientNet"]
    assert not any(part.training for part in slow.eval().modules())


def test_what_does_not_fit_is_refused():
    with pytest.raises(UserError, match="queue of 65 is larger than the corpus, which gives 64"):
        _method(queue=65)
    encoder = PatchTransformer(PatchTransformerConfig(dim=16, layers=1, heads=2))
    with pytest.raises(UserError, match=r"need not overlap: set views.overlap, to 0\.5"):
        SoftNegatives(encoder, SoftNegativesConfig(level="frames"), DataFacts())
