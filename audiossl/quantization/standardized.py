"""Any quantizer over frames whose dimensions are brought to zero mean and unit variance first.

SPEAR does so for WavLM, whose dimensions differ in scale by orders of magnitude. The statistics
belong to the quantizer, and to its id: codes are a function of frames and quantizer alone.
"""

from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int64, Integer
from torch import Tensor

from audiossl.quantization.quantizer import CodebookQuantizer

SMALLEST_DEVIATION = 1e-5
"""A dimension that never changes must not become one of huge values."""


class Standardized(CodebookQuantizer):
    """A quantizer of (frame - mean) / deviation, per dimension."""

    kind: ClassVar[str] = "standardized"
    mean: Float[Tensor, " dim"]
    deviation: Float[Tensor, " dim"]

    def __init__(
        self,
        inner: CodebookQuantizer,
        mean: Float[Tensor, " dim"] | None = None,
        deviation: Float[Tensor, " dim"] | None = None,
    ) -> None:
        """Put statistics before a quantizer that was trained on standardized frames.

        Args:
            inner: That quantizer.
            mean: Of the training frames; zeros if not given.
            deviation: Standard deviation of the training frames; ones if not given.
        """
        super().__init__()
        self.inner = inner
        self.dim, self.num_codebooks = inner.dim, inner.num_codebooks
        self.codebook_size = inner.codebook_size
        anchor = next(iter(inner.state_dict().values()))
        mean = anchor.new_zeros(self.dim) if mean is None else mean.to(anchor)
        deviation = anchor.new_ones(self.dim) if deviation is None else deviation.to(anchor)
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)

    def settings(self) -> dict[str, Any]:
        """Arguments that build an untrained quantizer of the same shapes."""
        return {"inner": {"kind": self.inner.kind, "settings": self.inner.settings()}}

    def standardize(self, frames: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Bring each dimension to zero mean and unit variance."""
        return (frames - self.mean) / self.deviation

    def encode(self, frames: Float[Tensor, "*batch dim"]) -> Integer[Tensor, "*batch codebooks"]:
        """Choose an entry of each codebook for each frame; see `CodebookQuantizer.encode`."""
        return self.inner.in_chunks(frames, self.encode_chunk)

    def encode_chunk(self, frames: Float[Tensor, "frames dim"]) -> Int64[Tensor, "frames books"]:
        """Encode standardized frames."""
        return self.inner.encode_chunk(self.standardize(frames))

    def decode_chunk(self, codes: Int64[Tensor, "frames books"]) -> Float[Tensor, "frames dim"]:
        """Decode, and undo the standardization."""
        return self.inner.decode_chunk(codes) * self.deviation + self.mean


def frame_statistics(
    frames: np.ndarray, rows_at_once: int = 65536
) -> tuple[Float[Tensor, " dim"], Float[Tensor, " dim"]]:
    """Measure mean and standard deviation of each dimension, in one pass over an array.

    Args:
        frames: (frames, dim).
        rows_at_once: Rows in memory at a time.

    Example:
        >>> frame_statistics(np.array([[0.0], [2.0]], np.float32))
        (tensor([1.]), tensor([1.]))
    """
    count, mean, squares = 0, np.zeros(frames.shape[1]), np.zeros(frames.shape[1])
    for start in range(0, len(frames), rows_at_once):
        chunk = np.asarray(frames[start : start + rows_at_once], np.float64)
        # Chan et al. (1979): sums of squares of parts, each around its own mean, are joined.
        share = len(chunk) / (count + len(chunk))
        step = chunk.mean(axis=0) - mean
        squares += np.square(chunk - chunk.mean(axis=0)).sum(axis=0)
        squares += np.square(step) * count * share
        mean += step * share
        count += len(chunk)
    deviation = np.maximum(np.sqrt(squares / count), SMALLEST_DEVIATION)
    return torch.from_numpy(mean).float(), torch.from_numpy(deviation).float()
