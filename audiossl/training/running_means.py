"""Weighted means of named figures between two log lines, over ranks."""

import torch
from torch import Tensor

from audiossl import distributed


class RunningMeans:
    """Sums of figures and of their weights, kept on the device until they are asked for."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.weights: dict[str, Tensor] = {}

    def add(self, name: str, value: Tensor, weight: Tensor | float) -> None:
        """Add a figure, or a vector of them, that is a mean over `weight` items.

        What is not finite has no weight: a figure may be undefined for a batch.
        """
        value = value.detach().double()
        finite = torch.isfinite(value)
        weighted = torch.where(finite, value * weight, torch.zeros_like(value))
        self.sums[name] = self.sums.get(name, 0) + weighted
        self.weights[name] = self.weights.get(name, 0) + finite * weight

    def take(self) -> dict[str, float]:
        """Return the means over all ranks, sorted by name, and begin anew.

        A vector gives its mean under its name, and its elements under name/00, name/01, ... What
        had no items at all is left out.
        """
        means = {}
        for name in sorted(self.sums):
            pair = torch.stack([self.sums[name], self.weights[name].double()])
            total, weight = distributed.total(pair)
            if not bool(weight.all()):
                continue
            values = (total / weight).tolist()
            if isinstance(values, list):
                means[name] = sum(values) / len(values)
                means |= {f"{name}/{index:02d}": value for index, value in enumerate(values)}
            else:
                means[name] = values
        self.sums, self.weights = {}, {}
        return means

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Return what must survive a crash: the sums of all ranks."""
        return {"sums": _totals(self.sums), "weights": _totals(self.weights)}

    def restore(self, state: dict[str, dict[str, Tensor]]) -> None:
        """Go on from a state, which the first rank takes over for all."""
        if distributed.is_first():
            self.sums, self.weights = dict(state["sums"]), dict(state["weights"])


def _totals(values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: distributed.total(torch.as_tensor(values[name])) for name in sorted(values)}
