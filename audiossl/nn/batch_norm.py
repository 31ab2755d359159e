"""Batch normalization whose statistics are those of the whole batch, on however many ranks.

One process uses torch's own. Several add up counts, sums and sums of squares, with gradients, so
that two processes with half a batch each compute what one process computes with the whole.
torch.nn.SyncBatchNorm does the same and refuses to run on a CPU.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from audiossl import distributed


class BatchNorm2d(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` over the batches of all ranks."""

    def forward(
        self, input: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Normalize each channel."""
        if not self.training or distributed.world_size() == 1:
            return super().forward(input)
        return self._normalize_over_ranks(input)

    def _normalize_over_ranks(self, values: Tensor) -> Tensor:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        # The moments are taken around the running mean: squares of large means would cancel.
        shift = self.running_mean[:, None, None]
        centered = values - shift
        axes = (0, 2, 3)
        sums = torch.stack([centered.sum(axes), centered.square().sum(axes)])
        count = values.numel() / values.shape[1] * distributed.world_size()
        mean, square = distributed.total(sums) / count
        variance = square - mean.square()
        with torch.no_grad():
            unbiased = variance * count / (count - 1)
            self.running_mean.lerp_(self.running_mean + mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
            self.num_batches_tracked.add_(1)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centered - mean[:, None, None]) * scale[:, None, None] + self.bias[:, None, None]
