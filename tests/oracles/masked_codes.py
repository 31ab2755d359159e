"""The loss of SPEAR, frame by frame and codebook by codebook, as the specification words it."""

import torch
from torch.nn import functional as F


def naive_loss(vectors, lengths, heads, codes, hidden, *, alpha, cut_weights):
    """Sum over teachers, cuts and frames, divided by the frames of all cuts.

    Args:
        vectors: Encoder output, (batch, frames, dim).
        lengths: Valid frames.
        heads: {teacher: (weight (codebooks, entries, dim), bias (codebooks, entries))}.
        codes: {teacher: (batch, at least frames, codebooks)}; -100 where there is none.
        hidden: (batch, frames).
        alpha: Weight of hidden frames.
        cut_weights: {teacher: weight of each cut}.
    """
    total = torch.zeros((), dtype=torch.float64)
    for name, (weight, bias) in heads.items():
        for row, length in enumerate(lengths.tolist()):
            for frame in range(length):
                targets = codes[name][row, frame]
                if (targets == -100).any():
                    continue
                logits = torch.einsum("nkd,d->nk", weight, vectors[row, frame]) + bias
                loss = F.cross_entropy(logits.double(), targets)
                share = alpha if hidden[row, frame] else 1 - alpha
                total = total + 2 * share * cut_weights[name][row] * loss
    return total / lengths.sum()
