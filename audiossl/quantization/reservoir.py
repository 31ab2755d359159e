"""A fair sample of a stream of frames, in the memory of the sample."""

import torch
from jaxtyping import Float
from torch import Tensor


class Reservoir:
    """Keeps `size` frames of all it is shown, each with the same chance.

    Every frame draws a number, and those with the smallest stay (reservoir sampling with equal
    weights): a batch costs a few operations, not one a frame.

    Example:
        >>> reservoir = Reservoir(size=3, dim=1, generator=torch.Generator().manual_seed(0))
        >>> for part in torch.arange(100.0).view(10, 10, 1):
        ...     reservoir.add(part)
        >>> reservoir.frames.shape
        torch.Size([3, 1])
    """

    def __init__(
        self, size: int, dim: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
    ) -> None:
        """Begin an empty sample.

        Args:
            size: Frames to keep.
            dim: Of a frame.
            generator: Draws the numbers, on the CPU.
            dtype: Data type of the stored frames.
        """
        self.seen = 0
        """Frames shown so far."""
        self._generator = generator
        # Pages that are not written yet take no memory.
        self._kept = torch.empty(size, dim, dtype=dtype)
        self._numbers = torch.empty(size, dtype=torch.float64)
        self._filled = 0

    @property
    def frames(self) -> Float[Tensor, "samples dim"]:
        """The sample so far."""
        return self._kept[: self._filled]

    def add(self, frames: Float[Tensor, "new dim"]) -> None:
        """Show frames, on any device."""
        self.seen += len(frames)
        drawn = torch.rand(len(frames), dtype=torch.float64, generator=self._generator)
        room = min(len(self._kept) - self._filled, len(frames))
        begin, self._filled = self._filled, self._filled + room
        self._put(torch.arange(begin, self._filled), frames[:room], drawn[:room])
        self._replace(frames[room:], drawn[room:])

    def _replace(self, frames: Float[Tensor, "new dim"], drawn: Float[Tensor, " new"]) -> None:
        """Let frames take the places of those with larger numbers."""
        size = len(self._kept)
        if size == 0 or len(drawn) == 0:
            return
        stay = torch.cat([self._numbers, drawn]).argsort()[:size]
        leaves = torch.ones(size, dtype=torch.bool)
        leaves[stay[stay < size]] = False
        come = stay[stay >= size] - size
        self._put(leaves.nonzero().squeeze(1), frames[come.to(frames.device)], drawn[come])

    def _put(
        self, places: Tensor, frames: Float[Tensor, "new dim"], drawn: Float[Tensor, " new"]
    ) -> None:
        self._kept[places] = frames.to("cpu", self._kept.dtype)
        self._numbers[places] = drawn
