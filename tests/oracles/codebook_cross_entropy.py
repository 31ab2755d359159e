"""SPEAR's loss as one cross-entropy a codebook, with all logits at once."""

import torch
from torch.nn import functional as F


def naive_codebook_cross_entropy(frames, weight, bias, codes, frame_weights):
    losses = [
        F.cross_entropy(frames @ w.T + b, code, reduction="none", ignore_index=-100)
        for w, b, code in zip(weight, bias, codes.T, strict=True)
    ]
    return (torch.stack(losses).mean(0) * frame_weights).sum()
