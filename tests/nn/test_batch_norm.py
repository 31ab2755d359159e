import pytest
import torch

from audiossl import distributed
from audiossl.nn.batch_norm import BatchNorm2d


def _one_step(images: torch.Tensor) -> dict[str, torch.Tensor]:
    norm = BatchNorm2d(3)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
    for _ in range(2):
        mine = distributed.own_rows(images).clone().requires_grad_()
        output = norm(mine)
        (
            output * torch.arange(output[0].numel()).view_as(output[0]).cos()
        ).square().sum().backward()
    return {
        "output": distributed.gather(output.detach()),
        "gradient": distributed.gather(mine.grad),
        "weight": distributed.mean(norm.weight.grad) * distributed.world_size(),
        "mean": norm.running_mean,
        "variance": norm.running_var,
    }


def test_a_small_variance_around_a_large_mean_is_that_of_one_process(two_processes):
    images = 3000 + 0.01 * torch.randn(6, 3, 40, 50)
    expected = _one_step(images)["variance"]
    for result in two_processes.run(_one_step, images):
        torch.testing.assert_close(result["variance"], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.05)])
def test_two_processes_normalize_as_one_does(two_processes, dtype, tolerance, layout):
    images = (torch.randn(6, 3, 4, 5) * 3 + 7).to(dtype, memory_format=layout)
    alone = _one_step(images)
    for result in two_processes.run(_one_step, images):
        for name, value in alone.items():
            torch.testing.assert_close(
                result[name], value, rtol=tolerance, atol=tolerance, msg=name
            )
