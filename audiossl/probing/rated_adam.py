"""Adam over a stack of heads, each with a learning rate of its own, in one pass over memory.

Weights are kept in units of the learning rate of their head. In these units every head has the
same rate, so that one call of torch's fused kernel serves all of them.

Source: Kingma and Ba (2015); weight decay is added to gradients, as torch.optim.Adam does.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


class RatedAdam:
    """Weights of heads, and their optimizer.

    Example:
        >>> adam = RatedAdam([torch.zeros(2, 1)], torch.tensor([0.1, 0.001]))
        >>> adam.step([torch.ones(2, 1)], 1.0)
        >>> adam.weights()[0].detach().flatten()
        tensor([-0.1000, -0.0010])
    """

    def __init__(
        self,
        weights: Sequence[Float[Tensor, "heads ..."]],
        rates: Float[Tensor, " heads"],
        weight_decay: float = 0.0,
    ) -> None:
        """Begin.

        Args:
            weights: First weights, stacked.
            rates: Learning rate of each head.
            weight_decay: Share of the weights that is added to gradients.
        """
        self.rates, self.decay = rates, weight_decay
        self.units = [weight / _along(rates, weight) for weight in weights]
        self.optimizer = torch.optim.Adam(self.units, fused=True)

    def weights(self) -> list[Tensor]:
        """Compute the weights, to which gradients can be taken."""
        return [(unit * _along(self.rates, unit)).requires_grad_() for unit in self.units]

    def step(self, gradients: Sequence[Float[Tensor, "heads ..."]], share: float) -> None:
        """Take a step along gradients, at a share of all learning rates."""
        for unit, gradient in zip(self.units, gradients, strict=True):
            # The fused kernel takes gradients for contiguous.
            unit.grad = gradient.contiguous()
            if self.decay:
                unit.grad += self.decay * _along(self.rates, unit) * unit
        self.optimizer.param_groups[0]["lr"] = share
        self.optimizer.step()

    def scale(self, factors: Float[Tensor, " heads"]) -> None:
        """Change the rate of each head by a factor; weights stay as they are."""
        self.rates = self.rates * factors
        for unit in self.units:
            unit.div_(_along(factors, unit))


def _along(values: Float[Tensor, " heads"], stacked: Tensor) -> Tensor:
    return values.view(-1, *[1] * (stacked.ndim - 1))
