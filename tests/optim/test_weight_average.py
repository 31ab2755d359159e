import pytest
import torch

from audiossl.optim.weight_average import average_between, update_average


def trajectory(num_steps):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(num_steps, 3, dtype=torch.float64, generator=generator).cumsum(dim=0)


def test_means_of_all_and_of_a_part_are_means():
    weights = trajectory(20)
    average = {"w": torch.zeros(3, dtype=torch.float64), "count": torch.tensor(0)}
    at = {}
    for index, value in enumerate(weights, start=1):
        update_average(average, {"w": value, "count": torch.tensor(index)}, index * 5, period=5)
        at[index] = {name: tensor.clone() for name, tensor in average.items()}
    torch.testing.assert_close(average["w"], weights.mean(dim=0))
    assert int(average["count"]) == 20
    between = average_between(at[8], 40, at[20], 100)
    torch.testing.assert_close(between["w"], weights[8:].mean(dim=0))
    assert int(between["count"]) == 20


def test_what_makes_no_sense_is_refused():
    average = {"w": torch.zeros(3)}
    with pytest.raises(ValueError, match="every 200 steps, not at step 300"):
        update_average(average, average, 300)
    with pytest.raises(ValueError, match="no steps lie between"):
        average_between(average, 200, average, 200)
    with pytest.raises(ValueError, match="weights differ"):
        average_between(average, 200, {"v": torch.zeros(3)}, 400)
