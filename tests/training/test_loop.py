import logging
import os
import signal

import pytest
import torch

from audiossl.errors import UserError
from audiossl.methods.method import Losses
from audiossl.optim.build import AdamWConfig
from audiossl.preemption import Preempted
from audiossl.training.averaging import AveragingConfig
from audiossl.training.checkpoints import read_last_checkpoint
from audiossl.training.loop import train
from audiossl.training.running_means import RunningMeans
from audiossl.training.writers import Records, read_metrics
from tests.training.toy import SCALED_ADAM, Method, Source, loop_config, method, place


def _weights(trained):
    return torch.cat([p.detach().flatten() for p in trained.parameters()])


class _StopsAt(Source):
    """Raises what a crash would, or a signal, when a batch is loaded."""

    def __init__(self, count: int, act) -> None:
        super().__init__()
        self.left, self.act = count, act

    def load(self, position, rank=0, world_size=1):
        self.left -= 1
        if self.left == 0:
            self.act()
        return super().load(position, rank, world_size)


def _crash():
    raise RuntimeError("power cut")


AVERAGED = {"optimizer": SCALED_ADAM, "averaging": AveragingConfig(period=3, last=9)}


@pytest.mark.parametrize("settings", [{}, AVERAGED])
@pytest.mark.parametrize("crash_at", [3, 6, 11, 19])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path, crash_at, settings):
    config, whole = loop_config(**settings), method()
    train(whole, Source(), config, place(tmp_path / "whole"))
    with pytest.raises(RuntimeError, match="power cut"):
        train(method(), _StopsAt(crash_at, _crash), config, place(tmp_path / "resumed"))
    resumed = method()
    train(resumed, Source(), config, place(tmp_path / "resumed"))
    assert torch.equal(_weights(resumed), _weights(whole))
    assert read_metrics(tmp_path / "resumed") == read_metrics(tmp_path / "whole")


def test_a_signal_saves_and_stops_and_the_run_goes_on(tmp_path):
    whole = method()
    train(whole, Source(), loop_config(), place(tmp_path / "whole"))
    stop = _StopsAt(10, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Preempted):
        train(method(), stop, loop_config(), place(tmp_path / "resumed"))
    assert read_last_checkpoint(tmp_path / "resumed")["step"] == 10
    resumed = method()
    train(resumed, Source(), loop_config(), place(tmp_path / "resumed"))
    assert torch.equal(_weights(resumed), _weights(whole))


def test_workers_change_nothing(tmp_path):
    results = []
    for workers in (0, 2):
        trained = method()
        train(trained, Source(), loop_config(6), place(tmp_path / str(workers), workers=workers))
        results.append(_weights(trained))
    assert torch.equal(*results)


def test_accumulated_parts_give_the_update_of_the_whole_batch(tmp_path):
    results = []
    for parts in (1, 2, 4):
        # Dropout is drawn for each part: it is left out of the comparison.
        trained = method(dropout=0.0)
        config = loop_config(5, accumulate=parts)
        train(trained, Source(), config, place(tmp_path / str(parts)))
        results.append(_weights(trained))
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=1e-5, atol=1e-6)


def test_a_batch_that_cannot_be_split_is_refused(tmp_path):
    with pytest.raises(
        UserError, match=r"8 cuts cannot be split into 3 equal parts .1 ranks x loop.accumulate 3"
    ):
        train(method(), Source(), loop_config(5, accumulate=3), place(tmp_path))


def _train_on_all_ranks(folder):
    trained = method(dropout=0.0)
    train(trained, Source(), loop_config(8), place(folder))
    return _weights(trained)


def test_two_processes_take_the_steps_of_one(tmp_path, two_processes):
    alone = _train_on_all_ranks(tmp_path / "one")
    for weights in two_processes.run(_train_on_all_ranks, tmp_path / "two"):
        torch.testing.assert_close(weights, alone, rtol=1e-5, atol=1e-6)
    one, two = read_metrics(tmp_path / "one"), read_metrics(tmp_path / "two")
    for left, right in zip(one, two, strict=True):
        assert right["loss"] == pytest.approx(left["loss"], rel=1e-4)


def test_one_process_goes_on_where_two_stopped(tmp_path, two_processes):
    alone = _train_on_all_ranks(tmp_path / "one")
    two_processes.run(_train_six_steps, tmp_path / "both")
    resumed = method(dropout=0.0)
    train(resumed, Source(), loop_config(8), place(tmp_path / "both"))
    torch.testing.assert_close(_weights(resumed), alone, rtol=1e-5, atol=1e-6)


def _train_six_steps(folder):
    stop = _StopsAt(6, lambda: os.kill(os.getpid(), signal.SIGTERM))
    try:
        train(method(dropout=0.0), stop, loop_config(8), place(folder))
    except Preempted:
        return True
    return False


def test_nan_stops_with_the_step_and_the_batch_and_spoils_nothing(tmp_path):
    trained = method()
    with pytest.raises(UserError) as caught:
        train(trained, Source(nan_at=17), loop_config(), place(tmp_path))
    message = str(caught.value)
    assert "the loss is nan" in message
    assert "of epoch 0" in message
    (saved,) = tmp_path.glob("bad-batch-*.pt")
    assert str(saved) in message
    assert torch.load(saved, weights_only=True)["inputs"].isnan().any()
    assert torch.isfinite(_weights(trained)).all()


def test_a_damaged_checkpoint_costs_one_interval(tmp_path):
    whole = method()
    train(whole, Source(), loop_config(), place(tmp_path / "whole"))
    with pytest.raises(RuntimeError, match="power cut"):
        train(method(), _StopsAt(14, _crash), loop_config(), place(tmp_path / "broken"))
    last = sorted((tmp_path / "broken" / "checkpoints").iterdir())[-1]
    last.write_bytes(last.read_bytes()[:100])
    resumed = method()
    train(resumed, Source(), loop_config(), place(tmp_path / "broken"))
    assert torch.equal(_weights(resumed), _weights(whole))


def test_few_checkpoints_are_kept(tmp_path):
    train(method(), Source(), loop_config(), place(tmp_path))
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000016.pt", "step-00000020.pt"]


def test_a_run_cut_off_in_the_middle_of_a_line_keeps_its_records(tmp_path):
    train(method(), Source(), loop_config(), place(tmp_path))
    rows = read_metrics(tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 21, "lo')
    assert read_metrics(tmp_path) == rows
    assert [row["step"] for row in rows] == [3, 6, 9, 12, 15, 18, 20]


def test_the_line_has_the_headlines_and_the_records_have_all_that_is_known(tmp_path, caplog):
    records = Records(tmp_path, 0, 1, logging.getLogger("told"))
    means = RunningMeans()
    means.add("accuracy", torch.tensor([0.25, 0.75]), torch.tensor(2.0))
    means.add("absent", torch.tensor(float("nan")), torch.tensor(0.0))
    means.add("loss", torch.tensor(3.0), 1.0)
    with caplog.at_level("INFO"):
        records.write(1, means.take(), {"loss", "absent"})
    records.close()
    known = {"loss": 3.0, "accuracy": 0.5, "accuracy/00": 0.25, "accuracy/01": 0.75}
    assert read_metrics(tmp_path) == [{"step": 1, **known}]
    assert caplog.messages == ["step=1/1 loss=3"]


def test_the_loss_falls(tmp_path):
    train(method(dropout=0.0), Source(), loop_config(60), place(tmp_path))
    losses = [row["loss"] for row in read_metrics(tmp_path)]
    assert losses[-1] < 0.1 * losses[0]


class _Sometimes(Method):
    """Finds nothing that counts in every second batch, and in every second part of the others."""

    def forward(self, batch, step, generator):
        losses = super().forward(batch, step, generator)
        counts = step % 2 == 0 and float(batch.inputs.sum()) > 0
        return Losses(losses.total * counts, losses.weight * counts)


def test_batches_in_which_nothing_counts_have_no_gradient(tmp_path):
    torch.manual_seed(0)
    trained = _Sometimes()
    before = _weights(trained)
    config = loop_config(2, accumulate=8, optimizer=AdamWConfig(rate=0.05))
    train(trained, Source(), config, place(tmp_path))
    assert torch.isfinite(_weights(trained)).all()
    assert not torch.equal(_weights(trained), before)
    (row,) = read_metrics(tmp_path)
    assert row["loss"] > 0
