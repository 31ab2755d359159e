import logging

import pytest
import torch

from audiossl.errors import UserError
from audiossl.training import loop
from audiossl.training.averaging import AveragingConfig
from audiossl.training.checkpoints import read_last_checkpoint
from tests.training.toy import Source, loop_config, method, place


class _Watched(Source):
    """Keeps the weights that a method has when each batch is loaded."""

    def __init__(self, trained: torch.nn.Module) -> None:
        super().__init__()
        self.trained, self.seen = trained, []

    def load(self, position, rank=0, world_size=1):
        self.seen.append(self.trained.encoder[1].weight.detach().clone())
        return super().load(position, rank, world_size)


@pytest.mark.parametrize(
    ("last", "averaged"), [(6, (12, 15)), (7, (12, 15)), (100, (3, 6, 9, 12, 15))]
)
def test_the_encoder_gets_the_mean_of_its_weights_over_the_last_steps(tmp_path, last, averaged):
    trained = method()
    source = _Watched(trained)
    config = loop_config(17, averaging=AveragingConfig(period=3, last=last))
    loop.train(trained, source, config, place(tmp_path))
    expected = torch.stack([source.seen[step].double() for step in averaged]).mean(0)
    torch.testing.assert_close(trained.encoder[1].weight.double(), expected, rtol=1e-6, atol=1e-7)
    last_weights = read_last_checkpoint(tmp_path)["method"]["encoder.1.weight"]
    assert not torch.equal(last_weights, trained.encoder[1].weight)


def test_a_run_shorter_than_a_period_keeps_its_last_weights_and_says_so(tmp_path, caplog):
    trained = method()
    config = loop_config(5, averaging=AveragingConfig(period=6, last=6))
    with caplog.at_level(logging.WARNING):
        loop.train(trained, Source(), config, place(tmp_path))
    assert "shorter than 6 steps" in caplog.text
    assert torch.equal(
        read_last_checkpoint(tmp_path)["method"]["encoder.1.weight"], trained.encoder[1].weight
    )


def test_counts_that_leave_nothing_are_refused():
    for wrong in ({"period": 0}, {"period": 10, "last": 9}):
        with pytest.raises(UserError, match="at least one period"):
            AveragingConfig(**wrong)
