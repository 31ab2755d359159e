"""A queue of vectors of earlier batches: candidates that cost no encoding.

The newest vectors push the oldest out. It is a module, so that it is in checkpoints, and takes in
those of all ranks in their order, so that it is the same on any number of them.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from audiossl import distributed


class VectorQueue(nn.Module):
    """At most `size` vectors, and the number of the recording (or class) that each is of.

    Vectors wait until `advance`, so that those of a batch are not yet there while its loss, or that
    of another micro-batch, is computed.

    Example:
        >>> queue = VectorQueue(size=3, dim=1)
        >>> queue.add(torch.tensor([[1.0], [2.0]]), torch.tensor([7, 8]))
        >>> _ = queue.advance()
        >>> queue.add(torch.tensor([[3.0], [4.0]]), torch.tensor([9, 7]))
        >>> _ = queue.advance()
        >>> queue.entries.flatten(), queue.recordings
        (tensor([4., 2., 3.]), tensor([7, 8, 9]))
    """

    vectors: Float[Tensor, "size dim"]
    numbers: Int[Tensor, " size"]
    taken: Int[Tensor, ""]

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(size, dim))
        self.register_buffer("numbers", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("taken", torch.zeros((), dtype=torch.int64))
        self.waiting: list[tuple[Tensor, Tensor]] = []

    @property
    def entries(self) -> Float[Tensor, "entries dim"]:
        """The vectors that are there: none in the first step."""
        return self.vectors[: int(self.taken)]

    @property
    def recordings(self) -> Int[Tensor, " entries"]:
        """Number of the recording of each."""
        return self.numbers[: int(self.taken)]

    def add(self, vectors: Float[Tensor, "batch dim"], recordings: Int[Tensor, " batch"]) -> None:
        """Let vectors of this rank wait for `advance`; those of recording -1 are left out then."""
        self.waiting.append((vectors.detach().to(self.vectors), recordings.to(self.numbers)))

    def advance(self) -> tuple[Float[Tensor, "batch dim"], Int[Tensor, " batch"]]:
        """Take in what has waited, on all ranks, and return it."""
        vectors, recordings = (
            distributed.gather(torch.cat(parts)) for parts in zip(*self.waiting, strict=True)
        )
        self.waiting = []
        vectors, recordings = vectors[recordings >= 0], recordings[recordings >= 0]
        size = len(self.vectors)
        places = (torch.arange(len(vectors), device=vectors.device) + self.taken)[-size:] % size
        self.vectors[places], self.numbers[places] = vectors[-size:], recordings[-size:]
        self.taken += len(vectors)
        return vectors, recordings
