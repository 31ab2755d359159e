"""Query by example: which documents hold what a spoken query says, by dynamic time warping.

Nothing is trained. Frames of all queries and documents are standardized together, and each query is
warped into each document; scores are standardized within a query.

Source: query by example of SUPERB (Yang et al., 2021; s3prl, quesst14_dtw), with its constants.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from audiossl.nn.lengths import valid_mask
from audiossl.nn.padding import padded
from audiossl.preemption import safe_point
from audiossl.probing.dynamic_time_warping import frame_costs, subsequence_costs

FEWEST_FRAMES = 5
"""Frames of the shortest query that is searched for."""
DECISION = 2.0
"""Standard deviations above the mean of a query's scores from which a document is found."""
_CELLS = 2**22
"""Pairs of frames that are compared at once."""

Sequences = Sequence[Float[np.ndarray, "_ dim"]]


def search(
    queries: Sequences, documents: Sequences, device: torch.device | None = None
) -> Float[np.ndarray, "queries documents"]:
    """Score every document for every query: the more, the likelier it holds it.

    Args:
        queries: Frames of each query.
        documents: Frames of each document, one at least.
        device: Where it is done; the CPU by default.

    Returns:
        Scores of mean 0 and standard deviation 1 over the documents of a query; 0 for queries of
        less than five frames.

    Example:
        >>> steps = np.eye(6)
        >>> scores = search([steps[:5]], [steps, steps[::-1], steps[[5, 5, 5]]])
        >>> int(scores.argmax())
        0
    """
    mean, deviation = _statistics([*queries, *documents])
    scores = np.zeros((len(queries), len(documents)))
    chosen = [n for n, query in enumerate(queries) if len(query) >= FEWEST_FRAMES]
    units = {n: _units(queries[n], mean, deviation, device) for n in chosen}
    longest = max((len(query) for query in units.values()), default=0)
    for numbers in _blocks([len(one) for one in documents], longest):
        rows, lengths = padded(np.asarray(documents[n], np.float32) for n in numbers)
        block = _units(rows, mean, deviation, device)
        valid = valid_mask(lengths, block.shape[1]).to(block.device)
        for n, query in units.items():
            safe_point()
            found = subsequence_costs(frame_costs(query, block, valid))
            scores[n, numbers] = -found.cpu().numpy()
    spread = scores.std(axis=1, keepdims=True).clip(min=1e-9)
    return (scores - scores.mean(axis=1, keepdims=True)) / spread


def _statistics(
    sequences: Sequences,
) -> tuple[Float[np.ndarray, " dim"], Float[np.ndarray, " dim"]]:
    """Compute mean and standard deviation over all frames."""
    count = sum(len(frames) for frames in sequences)
    mean = sum(frames.sum(axis=0, dtype=np.float64) for frames in sequences) / count
    squares = sum(((frames - mean) ** 2).sum(axis=0) for frames in sequences)
    return np.asarray(mean), np.sqrt(squares / max(1, count - 1)).clip(min=1e-9)


def _units(
    frames: Float[np.ndarray, "*frames dim"] | Float[Tensor, "*frames dim"],
    mean: Float[np.ndarray, " dim"],
    deviation: Float[np.ndarray, " dim"],
    device: torch.device | None,
) -> Float[Tensor, "*frames dim"]:
    """Standardize frames, and bring them to unit length."""
    rows = torch.as_tensor(frames).double()
    scaled = (rows - torch.from_numpy(mean)) / torch.from_numpy(deviation)
    return F.normalize(scaled.float().to(device), dim=-1)


def _blocks(lengths: Sequence[int], longest_query: int) -> Iterator[Int[np.ndarray, " documents"]]:
    """Put documents of like lengths together, as many as are compared at once."""
    order = np.argsort(lengths, kind="stable")[::-1]
    while len(order):
        most = max(1, _CELLS // max(1, longest_query * lengths[order[0]]))
        yield order[:most]
        order = order[most:]


def targets_of(
    wanted: Sequence[Sequence[str]], documents: Sequence[str]
) -> Bool[np.ndarray, "queries documents"]:
    """Mark the documents that hold each query.

    Args:
        wanted: Names of the documents of each query.
        documents: Names of all documents; those of others are left out.

    Example:
        >>> targets_of([["b", "c"], []], ["a", "b"])
        array([[False,  True],
               [False, False]])
    """
    return np.array([[name in names for name in documents] for names in map(set, wanted)])
