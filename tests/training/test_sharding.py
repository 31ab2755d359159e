"""Parameters spread over two ranks: the same training, and checkpoints that any number reads."""

import copy
import os
import shutil
import signal
from dataclasses import replace

import pytest
import torch
from torch import nn

from audiossl import distributed
from audiossl.errors import UserError
from audiossl.optim.scaled_adam import ScaledAdam
from audiossl.preemption import Preempted
from audiossl.training.averaging import AveragingConfig
from audiossl.training.checkpoints import read_last_checkpoint
from audiossl.training.loop import train
from audiossl.training.running_means import RunningMeans
from audiossl.training.writers import read_metrics
from tests.optim.test_scaled_adam import drawn, fresh
from tests.training.toy import ADAM_W, SCALED_ADAM, Method, Source, loop_config, place

AVERAGED = {"averaging": AveragingConfig(period=2, last=4), "accumulate": 2}
OPTIMIZERS = {"adamw": ADAM_W, "scaled_adam": replace(SCALED_ADAM, clip_norm=3.0)}


class _Deep(Method):
    """With a hidden layer, a scalar, and tensors that are shorter than ranks are many."""

    def __init__(self) -> None:
        super().__init__(dropout=0.0)
        self.encoder = nn.Sequential(nn.Linear(10, 5), nn.Tanh(), nn.Linear(5, 1))
        self.scale = nn.Parameter(torch.tensor(0.5))
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)

    def forward(self, batch, step, generator):
        scaled = replace(batch, targets=batch.targets * self.scale.exp() * self.frozen.mean())
        return super().forward(scaled, step, generator)


class _Stops(Source):
    """Asks the run to stop after some steps."""

    def __init__(self, steps: int = 4) -> None:
        super().__init__()
        self.steps = steps

    def load(self, position, rank=0, world_size=1):
        if (position.epoch, position.batch) == (0, self.steps - 1):
            os.kill(os.getpid(), signal.SIGTERM)
        return super().load(position, rank, world_size)


def _train(folder, name, sharding="full", source=None, **resources):
    """Train for seven steps, or to where the source says stop; returns all weights."""
    torch.manual_seed(0)
    trained = _Deep()
    config = loop_config(7, optimizer=OPTIMIZERS[name], **AVERAGED)
    where = place(folder, sharding=sharding, **resources)
    try:
        train(trained, source or Source(), config, where)
    except Preempted:
        return None
    assert not any(distributed.is_sharded(p) for p in trained.parameters())
    return torch.cat([p.detach().flatten() for p in trained.parameters()])


@pytest.fixture(scope="module", params=OPTIMIZERS)
def runs(request, tmp_path_factory, two_processes):
    """Weights and records of one process, and of two that share parameters."""
    folder, name = tmp_path_factory.mktemp("runs"), request.param
    alone = _train(folder / "one", name, "none")
    first, second = two_processes.run(_train, folder / "two", name)
    assert torch.equal(first, second)
    return name, alone, first, read_metrics(folder / "one"), read_metrics(folder / "two")


def test_two_processes_with_shards_take_the_steps_of_one_without(runs):
    _, alone, both, one, two = copy.deepcopy(runs)
    torch.testing.assert_close(both, alone, rtol=1e-5, atol=1e-6)
    for left, right in zip(one, two, strict=True):
        # The largest error of each part of a batch is none of the whole's.
        del left["largest"], right["largest"]
        assert right == pytest.approx(left, rel=1e-5)


def test_an_interrupted_run_equals_an_uninterrupted_one_bit_for_bit(runs, tmp_path, two_processes):
    name, _, both, _, records = runs
    stopped = two_processes.run(_train, tmp_path, name, "full", _Stops())
    assert stopped == [None, None]
    for weights in two_processes.run(_train, tmp_path, name):
        assert torch.equal(weights, both)
    for left, right in zip(records, read_metrics(tmp_path), strict=True):
        assert right == pytest.approx(left, rel=1e-12)


def test_one_rank_goes_on_where_two_stopped_and_two_where_one_did(runs, tmp_path, two_processes):
    name, alone, *_ = runs
    two_processes.run(_train, tmp_path / "two", name, "full", _Stops())
    one = _train(tmp_path / "two", name)
    torch.testing.assert_close(one, alone, rtol=1e-5, atol=1e-6)
    assert _train(tmp_path / "one", name, "full", _Stops()) is None
    for weights in two_processes.run(_train, tmp_path / "one", name):
        torch.testing.assert_close(weights, alone, rtol=1e-5, atol=1e-6)


def test_half_of_a_checkpoint_is_never_taken_for_a_whole_one(tmp_path, two_processes):
    whole, _ = two_processes.run(_train, tmp_path / "whole", "adamw")
    two_processes.run(_train, tmp_path, "adamw", "full", _Stops(6))
    last = tmp_path / "checkpoints" / "step-00000006"
    # What a crash leaves while a checkpoint is written, or while one is removed.
    shutil.copytree(last, last.with_name(".step-00000005.part"))
    # What a broken disk leaves.
    for shard in last.glob("__1_*.distcp"):
        shard.write_bytes(shard.read_bytes()[:50])
    # It is written once more, in its place.
    two_processes.run(_train, tmp_path, "adamw", "full", _Stops(6))
    for weights in two_processes.run(_train, tmp_path, "adamw"):
        assert torch.equal(weights, whole)
    names = sorted(path.name for path in last.parent.iterdir())
    assert names == ["step-00000006", "step-00000007"]


def _refused(folder):
    try:
        _train(folder, "adamw")
    except UserError as error:
        return str(error)


def test_all_ranks_hear_that_a_checkpoint_cannot_be_written(tmp_path, two_processes):
    (tmp_path / "checkpoints").write_text("in the way")
    first, second = two_processes.run(_refused, tmp_path)
    assert first == second
    assert "step-00000004: cannot be written (Not a directory)" in first


def test_a_run_keeps_to_its_sharding(tmp_path, two_processes):
    two_processes.run(_train, tmp_path / "full", "adamw", "full", _Stops())
    with pytest.raises(UserError, match=r"resources.sharding full, .* go on with none: keep to"):
        _train(tmp_path / "full", "adamw", "none")
    assert _train(tmp_path / "none", "adamw", "none", _Stops()) is None
    with pytest.raises(UserError, match=r"resources.sharding none, .* go on with full: keep to"):
        _train(tmp_path / "none", "adamw", "full")


def test_whole_tensors_are_read_without_a_layout(tmp_path, two_processes):
    both, _ = two_processes.run(_train, tmp_path, "scaled_adam")
    state = read_last_checkpoint(tmp_path)
    weights = torch.cat([value.flatten() for value in state["method"].values()])
    assert state["step"] == 7
    assert weights.shape == both.shape
    assert torch.isfinite(weights).all()


def _sharded_steps(gradients):
    """Parameters after steps of ScaledAdam on shards of them."""
    module = nn.ParameterList(fresh())
    distributed.shard(module, [], torch.device("cpu"))
    optimizer = ScaledAdam(module.parameters(), lr=0.02)
    for step in gradients:
        for parameter, gradient in zip(module.parameters(), step, strict=True):
            if distributed.is_sharded(parameter):
                mine = gradient.chunk(2)
                here = mine[distributed.rank()] if distributed.rank() < len(mine) else gradient[:0]
                gradient = distributed.sharded_like(here, parameter)
            parameter.grad = gradient.clone()
        optimizer.step()
    whole = fresh()
    distributed.copy_whole(module, nn.ParameterList(whole))
    held = [distributed.local(parameter).numel() for parameter in module.parameters()]
    return [parameter.detach() for parameter in whole], held


def test_scaled_adam_on_shards_takes_the_steps_of_whole_tensors(two_processes):
    """Beyond the 100 steps after which gradients are clipped, and at one that is not finite."""
    gradients = drawn(230)
    gradients[150][0][1, 1] = float("nan")
    whole = fresh()
    optimizer = ScaledAdam(whole, lr=0.02)
    for step in gradients:
        for parameter, gradient in zip(whole, step, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()
    results = two_processes.run(_sharded_steps, gradients)
    # Scalars are whole on both ranks; three rows are two and one, one element is one and none.
    assert [held for _, held in results] == [[12, 12, 4, 1, 1, 8], [12, 12, 3, 1, 0, 4]]
    for found, _ in results:
        for one, other in zip(found, whole, strict=True):
            torch.testing.assert_close(one, other.detach(), rtol=1e-4, atol=1e-5)


def _means():
    means = RunningMeans()
    means.add("loss", torch.tensor(1.0 + distributed.rank()), 1.0 + distributed.rank())
    resumed = RunningMeans()
    resumed.restore(means.state())
    resumed.add("loss", torch.tensor(4.0), 1.0)
    return resumed.take()["loss"]


def test_means_survive_with_what_all_ranks_have_added(two_processes):
    assert two_processes.run(_means) == [pytest.approx((1 * 1 + 2 * 2 + 4 + 4) / 5)] * 2
