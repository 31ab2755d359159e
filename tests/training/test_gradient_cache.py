"""A batch in parts is contrasted as a whole: the same gradients, on any number of ranks."""

import numpy as np
import pytest
import torch
from torch import nn

from audiossl import distributed
from audiossl.batches import DataFacts, ViewBatch
from audiossl.configs import from_plain, parse_yaml
from audiossl.data.plan import Plan, PlanConfig, Position
from audiossl.errors import UserError
from audiossl.methods.cola import Cola, ColaConfig
from audiossl.methods.source_association import SourceAssociation, SourceAssociationConfig
from audiossl.models.efficientnet import EfficientNet, EfficientNetConfig
from audiossl.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from audiossl.optim.build import AdamWConfig
from audiossl.training.loop import train
from tests.training.toy import loop_config, place

PAIRS = 16
COSINE = "similarity: cosine, projection_dim: 8, noise: 0.01"


class Source:
    """Batches of random crops, of which some have no positive."""

    def __init__(self) -> None:
        self.plan = Plan(np.full(64, 4000), 16000, PlanConfig(batch_size=PAIRS, num_buckets=1))

    def load(self, position: Position, rank: int = 0, world_size: int = 1) -> ViewBatch:
        draws = torch.Generator().manual_seed(position.epoch * 100 + position.batch)
        anchors = 0.1 * torch.randn(PAIRS, 4000, generator=draws)
        positives = anchors + 0.1 * torch.randn(PAIRS, 4000, generator=draws)
        rows = torch.arange(PAIRS).chunk(world_size)[rank]
        cuts = torch.from_numpy(self.plan.epoch(position.epoch).cuts(position.batch).copy())
        return ViewBatch(
            anchors[rows], positives[rows], torch.arange(PAIRS)[rows] % 3 != 1, cuts[rows] // 2,
            priors=torch.randn(PAIRS, 2, generator=draws)[rows],
            offsets=torch.randint(-2000, 2000, (PAIRS,), generator=draws)[rows],
        )  # fmt: skip


class _Kept(Cola):
    """Keeps the gradients of its last step."""

    def after_update(self) -> None:
        super().after_update()
        self.gradients = [p.grad.clone() for p in self.parameters() if p.grad is not None]


class _KeptSources(_Kept, SourceAssociation):
    pass


def _method(config, encoder: nn.Module | None = None) -> _Kept:
    torch.manual_seed(0)
    small = PatchTransformerConfig(dim=16, layers=1, heads=2)
    kind = _KeptSources if isinstance(config, SourceAssociationConfig) else _Kept
    facts = DataFacts(num_items=64, prior_dim=2)
    return kind(encoder or PatchTransformer(small), config, facts)


def _gradients(folder, text, accumulate, steps=1, sources=False):
    kind = SourceAssociationConfig if sources else ColaConfig
    method = _method(from_plain(kind, parse_yaml(f"{{{text}}}"), "test"))
    # Steps so small that sums in another order are all that differs.
    config = loop_config(steps, accumulate=accumulate, optimizer=AdamWConfig(rate=1e-9))
    train(method, Source(), config, place(folder))
    return method.gradients


def _close(found, expected):
    largest = max(float(gradient.abs().max()) for gradient in expected)
    for one, other in zip(found, expected, strict=True):
        assert float((one - other).abs().max()) <= 1e-5 * largest


SETTINGS = {
    "bilinear": "projection_dim: 8, noise: 0.01",
    "nt_xent": f"{COSINE}, loss: nt_xent, exclude_same_recording: true",
    "dclw": f"{COSINE}, loss: dclw",
    "kernel": f"{COSINE}, loss: {{kind: uniformity, kernel: {{}}}}",
    "user's": f"{COSINE}, loss: 'python:audiossl.losses.info_nce:info_nce'",
    "queue": f"{COSINE}, queue: 24, exclude_same_recording: true",
    "user's queue": f"{COSINE}, loss: 'python:audiossl.losses.info_nce:info_nce', queue: 40",
}


@pytest.mark.parametrize("name", SETTINGS)
def test_parts_have_the_gradient_of_the_whole(tmp_path, name):
    whole = _gradients(tmp_path / "1", SETTINGS[name], 1, steps=3)
    for parts in (2, 8):
        _close(_gradients(tmp_path / str(parts), SETTINGS[name], parts, steps=3), whole)


def test_absent_sources_are_one_target_of_the_whole_batch(tmp_path):
    whole = _gradients(tmp_path / "1", SETTINGS["nt_xent"], 1, sources=True)
    _close(_gradients(tmp_path / "4", SETTINGS["nt_xent"], 4, sources=True), whole)


@pytest.mark.parametrize("name", ["dclw", "queue", "user's queue"])
def test_two_processes_and_parts_of_their_shares_do_what_one_does(tmp_path, two_processes, name):
    whole = _gradients(tmp_path / "1", SETTINGS[name], 1, steps=3)
    for gradients in two_processes.run(_gradients, tmp_path / "2", SETTINGS[name], 4, 3):
        _close(gradients, whole)


class _Stops(Source):
    def load(self, position, rank=0, world_size=1):
        if position.batch == 3:
            raise RuntimeError("power cut")
        return super().load(position, rank, world_size)


def test_a_queue_goes_on_where_a_run_was_interrupted(tmp_path):
    config = from_plain(ColaConfig, parse_yaml(f"{{{SETTINGS['queue']}}}"), "test")
    loop = loop_config(6, accumulate=2)
    whole, resumed = _method(config), _method(config)
    train(whole, Source(), loop, place(tmp_path / "whole"))
    with pytest.raises(RuntimeError, match="power cut"):
        train(_method(config), _Stops(), loop, place(tmp_path / "resumed"))
    train(resumed, Source(), loop, place(tmp_path / "resumed"))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert int(whole.queue.taken) == 6 * PAIRS


def test_running_statistics_see_each_part_once(tmp_path):
    network = EfficientNetConfig(width=0.1, depth=0.1)
    method = _method(ColaConfig(projection_dim=8), EfficientNet(network))
    train(method, Source(), loop_config(3, accumulate=4), place(tmp_path))
    assert int(method.encoder.stem[2].num_batches_tracked) == 3 * 4


class _Draws(_Kept):
    """Draws from torch's global state and from the generator, as dropout does."""

    def vectors(self, batch, step, generator):
        drawn = torch.rand(len(batch.anchors)), torch.rand(3, generator=generator)
        self.drawn = [*getattr(self, "drawn", []), torch.cat(drawn)]
        return super().vectors(batch, step, generator)


def test_both_passes_draw_alike(tmp_path):
    torch.manual_seed(0)
    encoder = PatchTransformer(PatchTransformerConfig(dim=16, layers=1, heads=2))
    method = _Draws(encoder, ColaConfig(projection_dim=8))
    train(method, Source(), loop_config(1, accumulate=4), place(tmp_path))
    # The first part is encoded once, between both passes over the others.
    first, once, second = torch.stack(method.drawn).split([3, 1, 3])
    assert torch.equal(first, second)
    assert len(torch.cat([first, once])[:, 0].unique()) == 4


def test_a_queue_adds_negatives():
    torch.manual_seed(0)
    method = _method(from_plain(ColaConfig, parse_yaml(f"{{{COSINE}, queue: 3}}"), "test"))
    batch, generator = Source().load(Position()), torch.Generator()
    earlier = torch.randn(5, 8)
    method.queue.add(earlier, torch.arange(5))
    method.queue.advance()
    found = method(batch, 1, generator.manual_seed(1)).total
    with torch.no_grad():
        vectors = method.vectors(batch, 1, generator.manual_seed(1))
    anchors, positives, queue = (
        nn.functional.normalize(v, dim=1) for v in (vectors[::2], vectors[1::2], earlier[2:])
    )
    scores = anchors @ torch.cat([positives, queue]).T / 0.2
    expected = nn.functional.cross_entropy(scores, torch.arange(PAIRS))
    torch.testing.assert_close(found, expected)


def test_what_does_not_fit_is_refused():
    with pytest.raises(UserError, match="queue of 65 is larger than the corpus of 64 segments"):
        _method(ColaConfig(queue=65))
    with pytest.raises(UserError, match="uniformity has no negatives to queue"):
        from_plain(ColaConfig, {"similarity": "cosine", "loss": "uniformity", "queue": 2}, "test")
    kernel = {"kind": "uniformity", "kernel": {}}
    config = from_plain(ColaConfig, {"similarity": "cosine", "loss": kernel}, "test")
    with pytest.raises(UserError, match=r"needs priors: name columns, tags or vectors in views"):
        Cola(EfficientNet(EfficientNetConfig(width=0.1, depth=0.1)), config)


def _sharded(folder):
    from dataclasses import replace

    here = place(folder)
    here = replace(here, resources=replace(here.resources, sharding="full"))
    with pytest.raises(UserError, match="cannot contrast a whole batch in micro-batches"):
        train(_method(ColaConfig()), Source(), loop_config(1, accumulate=2), here)
    return distributed.rank()


def test_shards_are_refused(tmp_path, two_processes):
    assert two_processes.run(_sharded, tmp_path) == [0, 1]
