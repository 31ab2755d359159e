"""A random codebook behind a random projection, never trained: the quantizer of BEST-RQ.

Chiu et al., "Self-supervised learning with random-projection quantizer for speech recognition"
(2022): a frame is projected by a random matrix, and its code is the entry of a random codebook that
is nearest once both have unit length. The baseline that every learnt target must beat.
"""

from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from audiossl.quantization.quantizer import CodebookQuantizer


class RandomProjectionQuantizer(CodebookQuantizer):
    """Frozen random codebooks.

    Frames should be standardized, else the mean's direction decides most codes.

    Example:
        >>> quantizer = RandomProjectionQuantizer(80, num_codebooks=2, codebook_size=64, seed=1)
        >>> quantizer.encode(torch.randn(3, 100, 80)).shape
        torch.Size([3, 100, 2])
    """

    kind: ClassVar[str] = "random_projection"
    projection: Float[Tensor, "codebooks dim small"]
    entries: Float[Tensor, "codebooks size small"]

    def __init__(
        self,
        dim: int,
        *,
        num_codebooks: int = 1,
        codebook_size: int = 8192,
        projected_dim: int = 16,
        seed: int = 0,
    ) -> None:
        """Draw projection and codebook; the defaults are those of the paper.

        Args:
            dim: Dimension of a frame.
            num_codebooks: Independent pairs of projection and codebook.
            codebook_size: Entries of each.
            projected_dim: Dimension of the entries.
            seed: Seeds both.
        """
        super().__init__()
        self.dim, self.num_codebooks, self.codebook_size = dim, num_codebooks, codebook_size
        self.projected_dim, self.seed = projected_dim, seed
        generator = np.random.default_rng(seed)
        limit = np.sqrt(6 / (dim + projected_dim))  # Xavier's, as in the paper
        projection = generator.uniform(-limit, limit, (num_codebooks, dim, projected_dim))
        entries = generator.standard_normal((num_codebooks, codebook_size, projected_dim))
        self.register_buffer("projection", torch.from_numpy(projection).float())
        self.register_buffer("entries", F.normalize(torch.from_numpy(entries).float(), dim=2))

    def settings(self) -> dict[str, Any]:
        """Arguments that draw the same quantizer."""
        return {
            "dim": self.dim,
            "num_codebooks": self.num_codebooks,
            "codebook_size": self.codebook_size,
            "projected_dim": self.projected_dim,
            "seed": self.seed,
        }

    def encode_chunk(self, frames: Float[Tensor, "frames dim"]) -> Int64[Tensor, "frames books"]:
        """Choose the entries with the smallest angle to the projected frame."""
        projected = torch.einsum("fd,nds->nfs", frames, self.projection)
        # The length of the projected frame does not change which angle is the smallest.
        return (projected @ self.entries.transpose(1, 2)).argmax(dim=2).T

    def decode_chunk(self, codes: Int64[Tensor, "frames books"]) -> Float[Tensor, "frames dim"]:
        """Give the shortest vectors that are projected onto the entries, averaged over codebooks.

        A direction and no more: lengths were normalized away.
        """
        books = torch.arange(self.num_codebooks, device=codes.device)
        chosen = self.entries[books, codes]
        inverse = torch.linalg.pinv(self.projection)
        return torch.einsum("fns,nsd->fd", chosen, inverse) / self.num_codebooks
