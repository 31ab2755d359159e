"""Cross-modal code matching as the paper writes it, one pair at a time."""

import torch
from torch import Tensor


def code_matching(frames: list[list[Tensor]]) -> Tensor:
    """Average -log softmax of S_code(i, i) among S_code(i, j); frames[modality][clip] sums to 1."""
    a, b = ([clip.mean(dim=0) for clip in modality] for modality in frames)
    losses = []
    for i in range(len(a)):
        scores = [(a[i] * q.log()).sum() + (q * a[i].log()).sum() for q in b]
        total = sum(torch.exp(score) for score in scores)
        losses.append(-torch.log(torch.exp(scores[i]) / total))
    return sum(losses) / len(losses)
