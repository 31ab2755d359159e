"""What depends on weights alone, computed once for many batches in which they do not change."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol, runtime_checkable

from torch import nn


@runtime_checkable
class FoldsWeights(Protocol):
    """A module that can keep what it makes of its weights while they do not change."""

    def fold(self) -> None:
        """Compute it and keep it."""
        ...

    def unfold(self) -> None:
        """Forget it."""
        ...


@contextmanager
def constant_weights(network: nn.Module) -> Iterator[None]:
    """Keep what the modules of a network make of their weights, which nobody may change meanwhile.

    Networks in training keep nothing.

    Example:
        >>> import torch
        >>> network = nn.Linear(1, 1).eval()
        >>> with constant_weights(network):
        ...     outputs = [network(batch) for batch in torch.ones(3, 2, 1)]
    """
    with ExitStack() as stack:
        if not network.training:
            for module in network.modules():
                if isinstance(module, FoldsWeights):
                    module.fold()
                    stack.callback(module.unfold)
        yield
