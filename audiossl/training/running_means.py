"""Weighted means of named figures between two log lines, over ranks."""

from collections.abc import Mapping

import torch
from torch import Tensor

from audiossl import distributed


class RunningMeans:
    """Sums of figures and of their weights, kept on the device until they are asked for."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.weights: dict[str, Tensor] = {}

    def add(self, figures: Mapping[str, Tensor], weight: float) -> None:
        """Add figures that are means over `weight` items; those that are not finite have none."""
        for name, value in figures.items():
            # A figure may be undefined for a batch (nothing of its kind in it), and is NaN then.
            value = value.detach().double()
            finite = torch.isfinite(value)
            kept = torch.where(finite, value * weight, torch.zeros_like(value))
            self.sums[name] = self.sums.get(name, 0) + kept
            self.weights[name] = self.weights.get(name, 0) + finite * weight

    def take(self) -> dict[str, float]:
        """Return the means over all ranks, sorted by name, and begin anew."""
        means = {}
        for name in sorted(self.sums):
            pair = torch.stack([self.sums[name], self.weights[name].double()])
            total, weight = distributed.total(pair).tolist()
            means[name] = total / weight if weight else float("nan")
        self.sums, self.weights = {}, {}
        return means

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Return what must survive a crash."""
        return {"sums": self.sums, "weights": self.weights}

    def restore(self, state: dict[str, dict[str, Tensor]]) -> None:
        """Go on from a state."""
        self.sums, self.weights = dict(state["sums"]), dict(state["weights"])
