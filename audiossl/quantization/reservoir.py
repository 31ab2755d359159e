"""A fair sample of a stream of frames, in the memory of the sample."""

import torch
from jaxtyping import Float
from torch import Tensor


class Reservoir:
    """Keeps `size` frames of all it is shown, each with the same chance.

    Every frame draws a number; those with the smallest stay (Efraimidis and Spirakis' way of
    reservoir sampling, with equal weights): a batch costs a few operations, not one a frame.
    """

    def __init__(self, size: int, dim: int, generator: torch.Generator) -> None:
        """Begin an empty sample.

        Args:
            size: Frames to keep.
            dim: Of a frame.
            generator: Draws the numbers, on the CPU.
        """
        self.size, self.generator = size, generator
        self.frames: Float[Tensor, "kept dim"] = torch.empty(0, dim)
        """The sample so far, in random order."""
        self.seen = 0
        """Frames shown so far."""
        self._numbers = torch.empty(0, dtype=torch.float64)

    def add(self, frames: Float[Tensor, "new dim"]) -> None:
        """Show frames."""
        self.seen += len(frames)
        drawn = torch.rand(len(frames), dtype=torch.float64, generator=self.generator)
        if len(self._numbers) == self.size and self.size:
            worth = drawn < self._numbers[-1]
            frames, drawn = frames[worth.to(frames.device)], drawn[worth]
        numbers = torch.cat([self._numbers, drawn])
        kept = numbers.argsort()[: self.size]
        self._numbers = numbers[kept]
        self.frames = torch.cat([self.frames, frames.cpu()])[kept]
