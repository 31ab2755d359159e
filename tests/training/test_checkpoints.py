"""Checkpoints are written beside the training, and what is written is the state that was given."""

import threading

import pytest
import torch

from audiossl.errors import UserError
from audiossl.training import checkpoints
from audiossl.training.checkpoints import CheckpointWriter, read_last_checkpoint
from audiossl.training.loop import train
from tests.training.toy import Source, loop_config, method, place


@pytest.fixture
def held_back(monkeypatch):
    """A disk that takes its time: nothing is written before the event is set."""
    event, write = threading.Event(), checkpoints.write_state

    def late(path, state):
        assert event.wait(30)
        write(path, state)

    monkeypatch.setattr(checkpoints, "write_state", late)
    return event


def test_what_changes_after_a_checkpoint_was_begun_is_not_in_it(tmp_path, held_back):
    writer = CheckpointWriter(tmp_path, keep=2)
    state = {"step": 1, "method": {"weight": torch.zeros(3), "steps": [torch.ones(())]}}
    writer.write(1, state)
    state["method"]["weight"].add_(5)
    state["method"]["steps"][0].add_(5)
    assert read_last_checkpoint(tmp_path) is None
    held_back.set()
    writer.wait()
    read = read_last_checkpoint(tmp_path)
    assert read["method"]["weight"].tolist() == [0, 0, 0]
    assert read["method"]["steps"][0] == 1
    writer.close()


def test_a_checkpoint_in_the_memory_of_the_one_before_is_of_its_own_state(tmp_path):
    """Whatever has come, gone or changed its size or type since."""
    writer = CheckpointWriter(tmp_path, keep=2)
    ones = torch.ones(2)
    states = [
        {"kept": ones, "gone": 2 * ones, "grown": 3 * ones, "cast": 4 * ones},
        {"kept": 5 * ones, "new": 6 * ones, "grown": torch.ones(5), "cast": ones.half()},
        {"kept": 7 * ones, "new": 8 * ones, "gone": torch.zeros(1)},
    ]
    for step, state in enumerate(states):
        writer.write(step, state)
        writer.wait()
        read = read_last_checkpoint(tmp_path)
        assert list(read) == list(state)
        for name, tensor in state.items():
            torch.testing.assert_close(read[name], tensor, rtol=0, atol=0)
    writer.close()


def test_shards_are_copied_too(tmp_path):
    writer = CheckpointWriter(tmp_path, keep=2, sharding="full")
    state = {"step": 1, "method": {"weight": torch.zeros(1000, 1000)}}
    writer.write(1, state)
    state["method"]["weight"].add_(5)
    writer.wait()
    assert not read_last_checkpoint(tmp_path)["method"]["weight"].any()
    writer.close()


class _Releases(Source):
    """Lets the disk go on at a batch, and notes whether anything was written by then."""

    def __init__(self, event, count, folder):
        super().__init__()
        self.event, self.left, self.folder, self.written = event, count, folder, None

    def load(self, position, rank=0, world_size=1):
        self.left -= 1
        if self.left == 0:
            self.written = list(self.folder.glob("checkpoints/step-*"))
            self.event.set()
        return super().load(position, rank, world_size)


def test_steps_do_not_wait_for_the_disk(tmp_path, held_back):
    """Checkpoints are due every 4 steps: that of step 4 is not written when the eighth begins."""
    source = _Releases(held_back, 8, tmp_path)
    trained = method()
    train(trained, source, loop_config(9), place(tmp_path))
    assert source.written == []
    assert read_last_checkpoint(tmp_path)["step"] == 9


def test_a_checkpoint_that_cannot_be_written_ends_the_run_at_once(tmp_path, monkeypatch):
    def full(path, state):
        raise UserError(f"{path}: cannot be written (No space left on device)")

    monkeypatch.setattr(checkpoints, "write_state", full)
    with pytest.raises(UserError, match=r"step-00000004\.pt: cannot be written \(No space"):
        train(method(), Source(), loop_config(1000), place(tmp_path))
