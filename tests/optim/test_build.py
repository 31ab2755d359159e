from torch import nn

from audiossl.optim.build import AdamWConfig, ScaledAdamConfig, build_optimizer
from audiossl.optim.scaled_adam import ScaledAdam
from audiossl.optim.schedules import ConstantConfig


def test_everything_that_is_trained_and_nothing_else_is_given_to_the_optimizer():
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    module[2].requires_grad_(False)
    trained = {id(p) for p in module.parameters() if p.requires_grad}
    for config in (
        AdamWConfig(schedule=ConstantConfig()),
        ScaledAdamConfig(schedule=ConstantConfig(), clipping_scale=1.5),
    ):
        optimizer = build_optimizer(config, module)
        given = [id(p) for group in optimizer.param_groups for p in group["params"]]
        assert set(given) == trained
        assert len(given) == len(trained)
    assert isinstance(optimizer, ScaledAdam)
    assert optimizer.param_groups[0]["clipping_scale"] == 1.5
    assert optimizer.param_groups[0]["lr"] == 0.045
