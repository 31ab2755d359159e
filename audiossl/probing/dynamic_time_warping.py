"""Subsequence dynamic time warping: where in a document a query is, and how alike the two are.

Every frame of the query is given to one frame of the document, and the next to the same, the next
or the one after that: the asymmetric step pattern, whose cost is a mean over the query, so that
long and short documents compare. The path may begin and end anywhere in the document. A row of
costs depends on the row before it alone, and all documents take part at once.

Sources: Sakoe and Chiba (1978); the pattern is `asymmetric` of dtw-python 1.9 (Giorgino, 2009),
with open ends, as SUPERB's query by example has it.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F


def subsequence_costs(
    costs: Float[Tensor, "documents query frames"],
) -> Float[Tensor, " documents"]:
    """Find the least mean cost of a query's frames along a path through each document.

    Args:
        costs: Cost of each pair of frames; infinite for padding behind the end of a document.

    Example:
        >>> costs = torch.tensor([[[9.0, 0.0, 9.0, 9.0], [9.0, 9.0, 9.0, 2.0]]])
        >>> subsequence_costs(costs)  # the second frame, and the one after the next
        tensor([1.])
    """
    path = costs[:, 0]
    for row in costs.unbind(dim=1)[1:]:
        before = F.pad(path, (2, 0), value=float("inf"))
        path = row + torch.minimum(path, torch.minimum(before[:, :-2], before[:, 1:-1]))
    return path.amin(dim=1) / costs.shape[1]


def frame_costs(
    query: Float[Tensor, "query dim"],
    documents: Float[Tensor, "documents frames dim"],
    valid: Bool[Tensor, "documents frames"],
) -> Float[Tensor, "documents query frames"]:
    """Compute costs exp(1 - cosine) - 1, those of each query frame stretched to 0 ... 1.

    Source: `cosine_exp` with `minmax_norm` of SUPERB's query by example (s3prl, quesst14_dtw).

    Args:
        query: Unit vectors.
        documents: Unit vectors, padded.
        valid: Frames that are no padding, of which there is one in each document.

    Example:
        >>> query, document = torch.eye(2)[:1], torch.eye(2)[None]
        >>> frame_costs(query, document, torch.tensor([[True, True]]))
        tensor([[[0., 1.]]])
    """
    costs = torch.expm1(1 - torch.einsum("qd,nfd->nqf", query, documents))
    padding = ~valid[:, None]
    costs = costs.masked_fill(padding, float("inf"))
    least = costs.amin(dim=2, keepdim=True)
    most = costs.masked_fill(padding, float("-inf")).amax(dim=2, keepdim=True)
    return (costs - least) / (most - least).clamp(min=1e-9)
