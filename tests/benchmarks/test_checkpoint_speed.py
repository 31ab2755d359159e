"""How long a step waits for a checkpoint: that of its copy here, until it is on disk there."""

import torch

from audiossl.nn.weights import write_state
from audiossl.training.checkpoints import CheckpointWriter, read_last_checkpoint
from tests.benchmarks.rounds import compare


def test_a_checkpoint_of_100_million_numbers(tmp_path):
    """Weights, two moments and a mean of them, of an encoder of 25 million parameters."""
    names = ("weights", "moments", "squares", "means")
    state = {name: {str(n): torch.randn(1_000_000) for n in range(25)} for name in names}
    writer, whole = CheckpointWriter(tmp_path / "ours", keep=1), tmp_path / "theirs.pt"
    writer.write(1, state)
    writer.wait()
    read = read_last_checkpoint(tmp_path / "ours")
    assert all(torch.equal(read[name][n], state[name][n]) for name in names for n in state[name])
    ratio = compare(
        "a step waits for a checkpoint of 400 MB, against torch.save and fsync",
        lambda: writer.write(1, state), lambda: write_state(whole, state),
        rounds=5, goal=10, before=writer.wait,
        floor="the copy touches 400 MB of fresh memory, page by page",
    )  # fmt: skip
    writer.close()
    assert ratio > 1
