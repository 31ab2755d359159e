"""The cycle of temperatures."""

import pytest

from audiossl.errors import UserError
from audiossl.optim.temperature import ConstantTemperature, TemperatureCycle, temperature_at


def test_a_cycle_begins_high_and_half_periods_end_low():
    cycle = TemperatureCycle(low=0.1, high=1.0, period=10)
    values = [temperature_at(cycle, step) for step in range(26)]
    assert values[0] == values[10] == values[20] == pytest.approx(1.0)
    assert values[5] == values[15] == values[25] == pytest.approx(0.1)
    assert all(0.1 <= value <= 1.0 for value in values)
    assert temperature_at(ConstantTemperature(value=0.3), 7) == 0.3


@pytest.mark.parametrize(
    "wrong", [{"low": 0.0}, {"low": 2.0}, {"period": 0}, {"high": float("inf")}]
)
def test_ranges(wrong):
    with pytest.raises(UserError, match="temperature"):
        TemperatureCycle(**wrong)
    with pytest.raises(UserError, match="temperature"):
        ConstantTemperature(value=0.0)
