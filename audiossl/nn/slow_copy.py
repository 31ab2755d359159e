"""A copy of a network that follows it slowly: the teacher of self-distillation.

Its weights are an exponential moving average of the network's. It gets no gradient, and is a
module, so that it is in checkpoints. It stays in evaluation mode, in which it drops nothing; batch
norms may be left out of that, because running statistics are of no use until hundreds of steps have
made them.

Sources: Tarvainen and Valpola, "Mean teachers are better role models" (2017); He et al., "MoCo"
(2020); Grill et al., "BYOL" (2020), whose momentum rises to 1 along half a cosine.
"""

import copy
import math
from typing import Any

import torch
from torch import nn


class SlowCopy(nn.Module):
    """A network as it was, on average, a while ago.

    Example:
        >>> network = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.zeros_(network.weight)
        >>> slow = SlowCopy(network)
        >>> _ = nn.init.ones_(network.weight)
        >>> slow.follow(network, momentum=0.75)
        >>> slow.network.weight.item(), any(p.requires_grad for p in slow.parameters())
        (0.25, False)
    """

    def __init__(self, network: nn.Module, *, own_statistics: bool = False) -> None:
        """Copy a network.

        Args:
            network: What is followed.
            own_statistics: Whether its batch norms use those of its batches while the network is
                trained.
        """
        super().__init__()
        self.own_statistics = own_statistics
        self.network = copy.deepcopy(network).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "SlowCopy":
        """Stay in evaluation mode, but for batch norms with statistics of their own."""
        for module in self.modules():
            is_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
            module.training = mode and self.own_statistics and is_norm
        return self

    @torch.no_grad()
    def follow(self, network: nn.Module, momentum: float) -> None:
        """Keep a share `momentum` of one's own weights; buffers are copied."""
        for own, other in zip(self.network.parameters(), network.parameters(), strict=True):
            own.lerp_(other.detach(), 1.0 - momentum)
        for kept, buffer in zip(self.network.buffers(), network.buffers(), strict=True):
            kept.copy_(buffer)

    def forward(self, *values: Any) -> Any:
        """Run the copy, without gradient."""
        with torch.no_grad():
            return self.network(*values)


def momentum_at(step: int, base: float, steps: int | None) -> float:
    """Let the momentum rise from `base` to 1 over `steps`, along half a cosine; None: constant.

    Example:
        >>> [round(momentum_at(step, 0.9, 100), 3) for step in (0, 50, 100)]
        [0.9, 0.95, 1.0]
    """
    if steps is None:
        return base
    done = min(step / steps, 1.0)
    return 1.0 - (1.0 - base) * (1.0 + math.cos(math.pi * done)) / 2
