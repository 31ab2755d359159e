"""The codebook of vector-quantize-pytorch, whose entries are moving averages."""

from torch import Tensor
from vector_quantize_pytorch import VectorQuantize


def vector_quantize(entries: Tensor) -> VectorQuantize:
    """Make one with these entries, (size, dim), of which each has been chosen once."""
    size, dim = entries.shape
    theirs = VectorQuantize(
        dim, size, decay=0.99, rotation_trick=False, commitment_weight=0.0,
        threshold_ema_dead_code=0,
    )  # fmt: skip
    theirs._codebook.embed.data.copy_(entries[None])
    theirs._codebook.embed_avg.data.copy_(entries[None])
    theirs._codebook.cluster_size.data.fill_(1.0)
    return theirs
