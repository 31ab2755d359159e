import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiossl.data.loading import stream
from audiossl.data.plan import Plan, PlanConfig, Position
from audiossl.errors import UserError

LENGTHS = st.lists(st.integers(1600, 480_000), min_size=1, max_size=200)


@settings(deadline=None, max_examples=50)
@given(LENGTHS, st.integers(1, 8), st.integers(0, 3), st.integers(0, 2**31))
def test_an_epoch_holds_every_cut_and_batches_keep_their_bounds(lengths, buckets, epoch, seed):
    config = PlanConfig(seed=seed, batch_duration=90.0, num_buckets=buckets, multiple=2)
    plan = Plan(np.array(lengths), 16_000, config)
    batches = plan.epoch(epoch)
    assert set(batches.order.tolist()) == set(range(len(lengths)))
    # What is repeated to fill the last batch of a bucket is less than a batch of each.
    assert len(batches.order) < len(lengths) + plan.batch_sizes.sum()
    for number in range(len(batches)):
        cuts, bucket = batches.cuts(number), batches.buckets[number]
        assert len(cuts) == plan.batch_sizes[bucket]
        assert len(cuts) % 2 == 0
        assert np.array(lengths)[cuts].max() <= plan.padded[bucket]
        assert len(cuts) * plan.padded[bucket] / 16_000 <= 90.0


def test_a_position_is_all_that_a_run_needs_to_go_on():
    lengths = np.random.default_rng(0).integers(16_000, 320_000, 1000)
    plan = Plan(lengths, 16_000, PlanConfig(batch_duration=100.0, num_buckets=5))
    last = Position(2, 17)
    uninterrupted = []
    for position in plan.positions(Position()):
        uninterrupted.append(plan.epoch(position.epoch).cuts(position.batch).tolist())
        if position == last:
            break
    fresh = Plan(lengths, 16_000, PlanConfig(batch_duration=100.0, num_buckets=5))
    epochs = [len(fresh.epoch(epoch)) for epoch in range(2)]
    resumed = fresh.epoch(2).cuts(17).tolist()
    assert resumed == uninterrupted[-1]
    assert len(uninterrupted) == sum(epochs) + 18


def test_epochs_and_seeds_differ_and_repeat_themselves():
    lengths = np.random.default_rng(0).integers(16_000, 320_000, 300)

    def order(seed, epoch):
        return Plan(lengths, 16_000, PlanConfig(seed=seed)).epoch(epoch).order.tolist()

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


def test_padding_is_small_with_thirty_buckets():
    lengths = np.random.default_rng(0).integers(16_000, 480_000, 20_000)
    plan = Plan(lengths, 16_000, PlanConfig())
    batches = plan.epoch(0)
    padded = (plan.padded[batches.buckets] * np.diff(batches.starts)).sum()
    assert 1 - lengths[batches.order].sum() / padded < 0.05


def test_what_cannot_be_planned_is_refused():
    with pytest.raises(UserError, match="no cuts"):
        Plan(np.array([], int), 16_000, PlanConfig())
    with pytest.raises(UserError, match=r"a batch of 10.0 s has no room for 2 cuts of 20.00 s"):
        Plan(np.array([320_000]), 16_000, PlanConfig(batch_duration=10.0, multiple=2))
    with pytest.raises(UserError, match="batch_size 3 is no multiple of 2"):
        Plan(np.array([320_000]), 16_000, PlanConfig(batch_size=3, multiple=2))


class _Source:
    def __init__(self, **config):
        lengths = np.random.default_rng(0).integers(16_000, 320_000, 2000)
        self.plan = Plan(lengths, 16_000, PlanConfig(num_buckets=8, **config))

    def load(self, position, rank=0, world_size=1):
        rows = self.plan.epoch(position.epoch).cuts(position.batch)
        return np.array_split(rows, world_size)[rank]


@pytest.mark.parametrize(("ranks", "parts"), [(2, 1), (4, 1), (1, 2), (2, 2)])
@pytest.mark.parametrize("seconds", [90.0, 100.0])
def test_every_batch_is_shared_evenly_or_none_is_loaded(monkeypatch, ranks, parts, seconds):
    monkeypatch.setattr("audiossl.distributed.world_size", lambda: ranks)
    uneven = _Source(batch_duration=seconds)
    assert (uneven.plan.batch_sizes % (ranks * parts)).any()
    message = rf"\({ranks} ranks x loop.accumulate {parts}\): let plan.multiple be a multiple of"
    with pytest.raises(UserError, match=message):
        stream(uneven, Position(), 0, parts)
    even = _Source(batch_duration=seconds, multiple=ranks * parts)
    sizes = set()
    for rank in range(ranks):
        monkeypatch.setattr("audiossl.distributed.rank", lambda rank=rank: rank)
        batches = stream(even, Position(), 0, parts)
        sizes.add(tuple(len(next(batches)[0]) for _ in range(60)))
    assert len(sizes) == 1


def test_a_batch_size_that_ranks_cannot_share_is_named(monkeypatch):
    monkeypatch.setattr("audiossl.distributed.world_size", lambda: 2)
    with pytest.raises(UserError, match=r"batches of 9 cuts .* let plan.batch_size be a multiple"):
        stream(_Source(batch_size=9), Position(), 0)
