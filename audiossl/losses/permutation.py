"""Permutation-free binary cross-entropy: outputs are given to speakers in the order that fits best.

Source: Fujita et al. (2019), "End-to-End Neural Speaker Diarization with Permutation-Free
Objectives".
"""

import torch
from jaxtyping import Bool, Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F


def permutation_free(
    scores: Float[Tensor, "batch frames speakers"],
    targets: Float[Tensor, "batch frames speakers"],
    valid: Bool[Tensor, "batch frames"],
) -> Float[Tensor, " batch"]:
    """Sum the binary cross-entropy over frames and speakers, least over orders of the speakers.

    Args:
        scores: Logit that a speaker speaks.
        targets: 1 where one does.
        valid: Frames that count.

    Example:
        >>> scores = torch.tensor([[[9.0, -9.0], [-9.0, 9.0]]])
        >>> swapped = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
        >>> permutation_free(scores, swapped, torch.ones(1, 2, dtype=torch.bool))
        tensor([0.0005])
    """
    scores = scores.masked_fill(~valid[..., None], 0.0)
    # Of logit x and target y: softplus(x) - x y, the first of which no order changes.
    silent = (F.softplus(scores) * valid[..., None]).sum(dim=(1, 2))
    gains = torch.einsum("bfs,bfo->bso", scores, targets * valid[..., None])
    best = []
    for one in gains.detach().cpu().numpy():
        rows, columns = linear_sum_assignment(-one)
        best.append(torch.from_numpy(columns[rows.argsort()]))
    orders = torch.stack(best).to(scores.device)
    return silent - gains.gather(2, orders[..., None]).sum(dim=(1, 2))
