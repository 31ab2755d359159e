"""Stems faded from one window of a recording into the next."""

import torch
from jaxtyping import Float
from torch import Tensor


class CrossFade:
    """Joins windows that arrive in order; what no later window can change is handed out at once.

    The weight of a sample is a triangle over its window, and the sum of all weights is divided out:
    a linear fade where two windows overlap, as in Demucs' `apply_model` with transition power 1.
    """

    def __init__(self, num_stems: int, window: int) -> None:
        rise = torch.arange(1, window // 2 + 1)
        fall = torch.arange(window - window // 2, 0, -1)
        self.weights = torch.cat([rise, fall]) / max(1, window - window // 2)
        self.sum = torch.zeros(num_stems, window)
        self.total = torch.zeros(window)
        self.position = 0

    def add(
        self, stems: Float[Tensor, "stems window"], start: int
    ) -> Float[Tensor, "stems finished"]:
        """Take the window that begins at `start`; return what comes before it."""
        finished = self.flush(start)
        self.sum += self.weights * stems
        self.total += self.weights
        return finished

    def flush(self, end: int) -> Float[Tensor, "stems finished"]:
        """Return everything up to `end` that has not been returned yet."""
        num_finished = end - self.position
        finished = self.sum[:, :num_finished] / self.total[:num_finished]
        self.sum = _advance(self.sum, num_finished)
        self.total = _advance(self.total, num_finished)
        self.position = end
        return finished


def _advance(values: Float[Tensor, "*stems window"], steps: int) -> Float[Tensor, "*stems window"]:
    return torch.cat([values[..., steps:], torch.zeros_like(values[..., :steps])], dim=-1)
