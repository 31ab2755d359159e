"""Cross-entropy of one linear classifier a codebook, whose logits are never stored whole.

A frame of 16 codebooks with 256 entries has 16 kB of logits; a batch of half an hour has 1.6 GB,
and as much again for gradients. Here a few thousand frames at a time are scored, compared and
turned into gradients at once, all codebooks in one product: memory holds one portion.

Heads are those of SPEAR (`JointCodebookLoss` with is_joint=False in the authors' code): codebooks
are predicted independently of each other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from audiossl.audio.frame_rates import IGNORED

PORTION = 2048
"""Frames that are scored at once."""


@dataclass(frozen=True)
class CodebookScores:
    """What the classifiers of all codebooks say of a batch of frames."""

    loss: Float[Tensor, ""]
    """Sum over frames of weight times the mean over codebooks of cross-entropies, 0 if ignored."""
    negative_log: Float[Tensor, "frames codebooks"]
    """Cross-entropy of each code, without gradient; 0 where ignored."""
    correct: Bool[Tensor, "frames codebooks"]
    """Whether the highest score is that of the code; never where it is ignored."""
    known: Bool[Tensor, "frames codebooks"]
    """Whether there is a code."""


def codebook_cross_entropy(
    frames: Float[Tensor, "frames dim"],
    weight: Float[Tensor, "codebooks entries dim"],
    bias: Float[Tensor, "codebooks entries"],
    codes: Int[Tensor, "frames codebooks"],
    frame_weights: Float[Tensor, " frames"],
    *,
    portion: int = PORTION,
) -> CodebookScores:
    """Compare what frames predict with their codes.

    Args:
        frames: Encoder output; computed with in float32 whatever autocast says.
        weight: Of the classifiers.
        bias: Of the classifiers.
        codes: Entry of each codebook; where it is `IGNORED`, the others count as they would.
        frame_weights: How much each frame counts in the loss.
        portion: Frames scored at once.

    Example:
        >>> weight, bias = torch.zeros(2, 8, 4), torch.zeros(2, 8)  # of 2 codebooks with 8 entries
        >>> codes = torch.tensor([[0, 7], [3, 3], [5, 1]])
        >>> scores = codebook_cross_entropy(torch.ones(3, 4), weight, bias, codes, torch.ones(3))
        >>> scores.loss, scores.negative_log.shape  # 3 ln 8: the sum over frames
        (tensor(6.2383), torch.Size([3, 2]))
    """
    known = codes != IGNORED
    with torch.autocast(frames.device.type, enabled=False):
        loss, negative_log, correct = _Portions.apply(
            frames.float(), weight.float(), bias.float(), codes, frame_weights.float(), portion
        )
    return CodebookScores(loss, negative_log, correct, known)


class _Portions(torch.autograd.Function):
    """Scores and, while they are at hand, gradients: backward has only to scale them."""

    @staticmethod
    def forward(  # noqa: PLR0917 - autograd functions have no keywords
        ctx: Any,
        frames: Tensor,
        weight: Tensor,
        bias: Tensor,
        codes: Tensor,
        frame_weights: Tensor,
        portion: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        flat, offsets = weight.flatten(0, 1), bias.flatten()
        losses = frames.new_zeros(codes.shape)
        correct = torch.zeros(codes.shape, dtype=torch.bool, device=codes.device)
        wanted = any(ctx.needs_input_grad)
        gradients = [torch.zeros_like(t) for t in (frames, offsets)] if wanted else []
        of_weight: Tensor | None = None
        for rows, weighted in _portions(codes, frame_weights, portion):
            own = frames[rows]
            logits = torch.addmm(offsets, own, flat.T).unflatten(1, bias.shape)
            known = codes[rows] != IGNORED
            targets = codes[rows].clamp(min=0)[..., None]
            highest = _argmax(logits)[..., None]
            correct[rows] = (highest == targets)[..., 0] & known
            probabilities = logits.softmax(dim=2)
            # The highest is exp(0) over the sum that the softmax divided by.
            log_sum = logits.gather(2, highest) - probabilities.gather(2, highest).log()
            losses[rows] = (log_sum - logits.gather(2, targets))[..., 0] * known
            if wanted and weighted:
                slopes = probabilities
                slopes.scatter_add_(2, targets, torch.full_like(targets, -1.0, dtype=slopes.dtype))
                slopes *= (frame_weights[rows, None] / codes.shape[1] * known)[..., None]
                slopes = slopes.flatten(1)
                gradients[0][rows] = slopes @ flat
                gradients[1] += slopes.sum(dim=0)
                # Of 2 million numbers, zeros to begin with would be written and read for nothing.
                of_weight = slopes.T @ own if of_weight is None else of_weight.addmm_(slopes.T, own)
        if wanted:
            of_weight = torch.zeros_like(flat) if of_weight is None else of_weight
            ctx.save_for_backward(
                gradients[0], of_weight.view_as(weight), gradients[1].view_as(bias)
            )
        ctx.mark_non_differentiable(losses, correct)
        return losses.mean(dim=1) @ frame_weights, losses, correct

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_others: Tensor) -> tuple[Tensor | None, ...]:
        of_frames, of_weight, of_bias = ctx.saved_tensors
        return gradient * of_frames, gradient * of_weight, gradient * of_bias, None, None, None


def _argmax(logits: Tensor) -> Tensor:
    """Find the highest entry; on a CPU by NumPy, which has vector instructions for it."""
    if logits.device.type == "cpu" and not torch.compiler.is_compiling():
        return torch.from_numpy(logits.numpy().argmax(axis=2))
    return logits.argmax(dim=2)


def _portions(
    codes: Tensor, frame_weights: Tensor, portion: int
) -> Iterator[tuple[Tensor | slice, bool]]:
    """Split frames, and say of which gradients are to be computed.

    Where counting does not stop a device: those that have a weight first, then those that are only
    scored; padding not at all. Two thirds of the work of a frame are its gradients.
    """
    if codes.device.type != "cpu":
        yield from (
            (slice(first, first + portion), True) for first in range(0, len(codes), portion)
        )
        return
    known, weighted = (codes != IGNORED).any(dim=1), frame_weights != 0
    for chosen, is_weighted in ((known & weighted, True), (known & ~weighted, False)):
        if chosen.any():
            yield from ((rows, is_weighted) for rows in chosen.nonzero().flatten().split(portion))
