import pytest

from audiossl.optim.eden import EdenConfig, eden, eden_factor, hours_of_audio
from audiossl.optim.schedules import rate_factor


def test_the_rate_rises_from_half_and_falls_by_steps_and_by_hours():
    config = EdenConfig(hour_scale=30000.0, seconds_per_step=4800.0)
    # The first batch is counted when its rate is set.
    assert eden_factor(config, 0) == pytest.approx(0.5 + 0.5 / 500)
    assert eden_factor(config, 499) == pytest.approx(1.0, abs=0.01)
    # (1 + 1)^(-1/4) at the scale of steps, where hours are few.
    assert eden(7500, 0.0, hour_scale=1.0) == pytest.approx(2**-0.25)
    assert eden(0, 10.0, hour_scale=10.0, warm_up=0) == pytest.approx(2**-0.25)
    assert rate_factor(config, 400_000, 400_000) == eden_factor(config, 400_000)


def test_the_authors_large_run_ends_at_their_rate():
    hours = hours_of_audio(500_000, 6400.0)
    assert 0.045 * eden(500_000, hours, hour_scale=75000.0) == pytest.approx(0.0016, abs=1e-4)
