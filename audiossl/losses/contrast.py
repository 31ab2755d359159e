"""Contrastive losses from two numbers an anchor: its positive's score and its negatives' sum.

With s the score of an anchor's positive and n = log sum exp of the scores of its negatives,

    cross_entropy  log(e^s + e^n) - s    InfoNCE; NT-Xent where negatives come from both views
    decoupled      n - w s               DCL (w = 1) and DCLW: no positive in the denominator

An easy positive, or easy negatives, switch an anchor off in the first; in the second the gradient
with respect to the positive's score is -w whatever the difficulty, which matters in small batches.

`log_negatives` makes n in chunks of candidates and makes their scores again in the backward pass,
so that memory grows as batch x chunk and not as batch x candidates.

Sources: Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations"
(2020); Yeh et al., "Decoupled Contrastive Learning" (ECCV 2022), with the single sum over both
views of the paper (lightly adds two sums), its weights detached, and clamped at 0.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

CHUNK = 1024
"""Candidates that are scored at once."""
ROWS = 512
"""Anchors that are scored at once on a CPU, in whose cache the scores then stay."""


def log_negatives(
    anchors: Float[Tensor, "batch dim"],
    candidates: Float[Tensor, "candidates dim"],
    groups: Int[Tensor, " batch"],
    candidate_groups: Int[Tensor, " candidates"],
    *,
    chunk: int = CHUNK,
) -> Float[Tensor, " batch"]:
    """Compute log sum exp of the dot products with candidates of other groups.

    Temperature, a bilinear form or normalization are the caller's: scale or map the anchors. It is
    computed in float32 at least, whatever autocast says.

    Args:
        anchors: This rank's anchors.
        candidates: Candidates of all ranks, of one view or of both.
        groups: Group of each anchor: its pair, or its recording where other crops of the same
            recording are to be no negatives.
        candidate_groups: Group of each candidate; those of the anchor's group are left out.
        chunk: Candidates that are scored at once.

    Returns:
        One value an anchor; minus infinity where it has no negatives.

    Example:
        >>> vectors = torch.eye(3)
        >>> pairs = torch.arange(3)
        >>> log_negatives(vectors, vectors, pairs, pairs).exp()
        tensor([2., 2., 2.])
    """
    number = torch.promote_types(
        torch.promote_types(anchors.dtype, candidates.dtype), torch.float32
    )
    with torch.autocast(anchors.device.type, enabled=False):
        rows = ROWS if anchors.device.type == "cpu" else max(1, len(anchors))
        candidates = candidates.to(number)
        results = [
            _LogNegatives.apply(some, candidates, some_groups, candidate_groups, chunk)
            for some, some_groups in zip(
                anchors.to(number).split(rows), groups.split(rows), strict=True
            )
        ]
    return torch.cat(results)


def largest_negatives(
    anchors: Float[Tensor, "batch dim"],
    candidates: Float[Tensor, "candidates dim"],
    groups: Int[Tensor, " batch"],
    candidate_groups: Int[Tensor, " candidates"],
    *,
    chunk: int = CHUNK,
) -> Float[Tensor, " batch"]:
    """Find the largest dot product with candidates of other groups; see `log_negatives`."""
    result = anchors.new_full((len(anchors),), float("-inf"))
    chunks = zip(candidates.split(chunk), candidate_groups.split(chunk), strict=True)
    for some, some_groups in chunks:
        if len(some):
            scores = _scores(anchors, some, groups, some_groups)
            result = torch.maximum(result, scores.amax(dim=1))
    return result


def cross_entropy(
    positives: Float[Tensor, " batch"], negatives: Float[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Compute -log of the positive's share: InfoNCE and NT-Xent.

    Args:
        positives: Score of each anchor's positive.
        negatives: `log_negatives` of each anchor.
    """
    return torch.logaddexp(positives, negatives) - positives


def decoupled(
    positives: Float[Tensor, " batch"],
    negatives: Float[Tensor, " batch"],
    weights: Float[Tensor, " batch"] | float = 1.0,
) -> Float[Tensor, " batch"]:
    """Compute the decoupled contrastive loss, which is not bounded below by 0 (DCL).

    Args:
        positives: Score of each anchor's positive.
        negatives: `log_negatives` of each anchor; finite, so every anchor needs a negative.
        weights: Of the positives; `decoupling_weights` for DCLW.
    """
    return negatives - weights * positives


def decoupling_weights(
    cosines: Float[Tensor, " batch"], sigma: float = 0.5
) -> Float[Tensor, " batch"]:
    """Weigh dissimilar pairs more: 2 - n softmax(cosine / sigma), detached, at least 0 (DCLW).

    The mean weight is 1, unless one pair is so much more similar than the others that it is
    clamped.

    Args:
        cosines: Of both views of every pair of the whole batch.
        sigma: Scale in which cosines are compared.
    """
    shares = torch.softmax(cosines.detach() / sigma, dim=0)
    return (2 - len(cosines) * shares).clamp(min=0.0)


class _LogNegatives(torch.autograd.Function):
    """A running log sum exp over chunks; the backward pass makes each chunk's softmax again.

    One chunk holds no more than is held anyhow: its softmax is kept.
    """

    @staticmethod
    def forward(
        ctx: Any,
        anchors: Float[Tensor, "batch dim"],
        candidates: Float[Tensor, "candidates dim"],
        groups: Int[Tensor, " batch"],
        candidate_groups: Int[Tensor, " candidates"],
        chunk: int,
    ) -> Float[Tensor, " batch"]:
        result = anchors.new_full((len(anchors),), float("-inf"))
        shares = anchors.new_empty(0)
        chunks = zip(candidates.split(chunk), candidate_groups.split(chunk), strict=True)
        for some, some_groups in chunks:
            if not len(some):  # nothing sounds: an empty tensor is one chunk
                break
            shares, log_sums = _softmax(_scores(anchors, some, groups, some_groups, _lowest(some)))
            result = torch.logaddexp(result, log_sums)
        kept = shares if len(candidates) <= chunk else anchors.new_empty(0)
        ctx.save_for_backward(anchors, candidates, groups, candidate_groups, result, kept)
        ctx.chunk = chunk
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Float[Tensor, " batch"]) -> tuple[Tensor | None, ...]:
        anchors, candidates, groups, candidate_groups, result, kept = ctx.saved_tensors
        # An anchor without negatives has no gradient, and exp(-inf - -inf) would be none either.
        alone = result.isinf()
        gradient, shift = gradient.masked_fill(alone, 0.0)[:, None], result.masked_fill(alone, 0.0)
        of_anchors = torch.zeros_like(anchors)
        of_candidates = torch.empty_like(candidates)
        for start in range(0, len(candidates), ctx.chunk):
            part = slice(start, start + ctx.chunk)
            if len(candidates) <= ctx.chunk:
                shares = kept * gradient
            else:
                some, some_groups = candidates[part], candidate_groups[part]
                scores = _scores(anchors, some, groups, some_groups)
                shares = scores.sub_(shift[:, None]).exp_().mul_(gradient)
            of_anchors.addmm_(shares, candidates[part])
            torch.mm(shares.T, anchors, out=of_candidates[part])
        return of_anchors, of_candidates, None, None, None


def _softmax(
    scores: Float[Tensor, "batch chunk"],
) -> tuple[Float[Tensor, "batch chunk"], Float[Tensor, " batch"]]:
    """Compute softmax and log sum exp of rows; minus infinity where all of a row is excluded."""
    shares, highest = scores.softmax(dim=1), scores.amax(dim=1)
    # The highest share is exp(0) over the sum that the softmax divided by.
    log_sums = highest - shares.amax(dim=1).log()
    return shares, log_sums.masked_fill(highest == _lowest(scores), float("-inf"))


def _lowest(values: Tensor) -> float:
    """Give the lowest finite number, of which a whole row has a softmax."""
    return torch.finfo(values.dtype).min


def _scores(
    anchors: Float[Tensor, "batch dim"],
    candidates: Float[Tensor, "chunk dim"],
    groups: Int[Tensor, " batch"],
    candidate_groups: Int[Tensor, " chunk"],
    excluded: float = float("-inf"),
) -> Float[Tensor, "batch chunk"]:
    same: Bool[Tensor, "batch chunk"] = groups[:, None] == candidate_groups
    return (anchors @ candidates.T).masked_fill_(same, excluded)
