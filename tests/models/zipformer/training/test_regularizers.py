import pytest
import torch

from audiossl.models.zipformer.training.regularizers import (
    BALANCERS,
    NO_REGULARIZERS,
    WHITENERS,
    Balance,
    Whitening,
    gradient_regularizers,
    period,
)
from audiossl.models.zipformer.training.schedules import Progress

CPU = torch.device("cpu")


@pytest.mark.parametrize(("batch_count", "steps"), [(0.0, 2), (8000.0, 8), (1e6, 8)])
def test_regularizers_act_in_some_steps_with_the_strength_of_all(batch_count, steps):
    progresses = [Progress(step, batch_count) for step in range(16)]
    assert {period(progress) for progress in progresses} == {steps}
    acting = [gradient_regularizers(progress, CPU) for progress in progresses]
    assert sum(regularizer is not NO_REGULARIZERS for regularizer in acting) == 16 // steps
    strength = acting[0].balance_limits[:, 4]
    # With the default probability it is that of the source: in steps by chance, 1 in `steps`.
    assert float(strength[Balance.FEED_FORWARD_HIDDEN]) == pytest.approx(1.0)
    assert float(strength[Balance.KEYS]) == pytest.approx(0.025 * steps)


def test_everything_has_its_limits():
    assert set(BALANCERS) == set(Balance)
    assert set(WHITENERS) == set(Whitening)


def test_without_limits_activations_and_gradients_are_left_alone():
    x = torch.randn(3, 4, requires_grad=True)
    assert NO_REGULARIZERS.balance(x, Balance.KEYS) is x
    assert NO_REGULARIZERS.whiten(x, Whitening.KEYS) is x


def test_schedules_reach_the_limits():
    early, late = (gradient_regularizers(Progress(0, now), CPU).whiten_limits for now in (0.0, 1e6))
    assert float(early[Whitening.SELF_ATTENTION, 0]) == 7.5
    assert float(late[Whitening.SELF_ATTENTION, 0]) == 22.5
