"""Batches of training frames, drawn from an array that may be larger than memory."""

from collections.abc import Callable
from copy import copy

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from audiossl.errors import UserError


class FrameBatches:
    """Consecutive windows through the shuffled frames, around and around.

    The batch of a step depends on the seed and the step alone, so that a resumed training sees
    what an uninterrupted one would have seen, and every rank the same.

    Example:
        >>> batches = FrameBatches(np.arange(6.0, dtype=np.float32)[:, None], 4, seed=0)
        >>> sorted(torch.cat([batches.batch(step) for step in range(3)]).flatten().tolist())
        [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0, 5.0, 5.0]
    """

    def __init__(
        self,
        frames: np.ndarray,
        batch_size: int,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        prepare: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        """Plan the order.

        Args:
            frames: (frames, dim), any floating type; an array or a memory map, read row by row.
            batch_size: Frames a batch; more than there are repeat some.
            seed: Seeds the order.
            device: Where batches go.
            prepare: Applied to each batch, in float32 on `device`.

        Raises:
            UserError: There are no frames, or they are not vectors.
        """
        if frames.ndim != 2 or not len(frames):
            raise UserError(
                f"a quantizer is trained on an array of (frames, dim), got one of shape "
                f"{tuple(frames.shape)}"
            )
        self.frames, self.batch_size, self.device = frames, batch_size, torch.device(device)
        self.prepare = prepare
        self.order = np.random.default_rng(seed).permutation(len(frames))

    def then(self, function: Callable[[Tensor], Tensor]) -> "FrameBatches":
        """The same batches with `function` applied after what is applied to them already."""
        later = copy(self)
        later.prepare = function if self.prepare is None else _compose(self.prepare, function)
        return later

    @property
    def dim(self) -> int:
        """Dimension of a frame."""
        return int(self.frames.shape[1])

    def batch(self, step: int) -> Float[Tensor, "batch dim"]:
        """Read the batch of a step, as float32."""
        start = step * self.batch_size
        places = np.arange(start, start + self.batch_size) % len(self.order)
        # In the order of the disk: a batch is a set.
        rows = np.sort(self.order[places])
        batch = torch.from_numpy(np.asarray(self.frames[rows], np.float32)).to(self.device)
        if not torch.isfinite(batch).all():
            bad = rows[int((~torch.isfinite(batch).all(dim=1)).int().argmax())]
            raise UserError(f"training frame {bad} is NaN or infinite: leave its cut out")
        return batch if self.prepare is None else self.prepare(batch)


def _compose(
    first: Callable[[Tensor], Tensor], second: Callable[[Tensor], Tensor]
) -> Callable[[Tensor], Tensor]:
    return lambda batch: second(first(batch))
