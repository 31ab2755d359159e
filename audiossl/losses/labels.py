"""Losses of what labels say: of clips, of texts, and of what sounds when.

Labels of times are segments (begin, end, class) in seconds; a frame has the classes of the segments
that its center lies in, whatever the frame rate of an encoder is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn import functional as F

from audiossl.losses.permutation import permutation_free
from audiossl.nn.lengths import valid_mask

Objective = Literal["classes", "tags", "text", "frames", "events", "speakers"]
"""One class of each kind for a clip, any number of tags for a clip, symbols in order (CTC), one
class for a frame, any number for a frame, or speakers whose order is free."""
OF_CLIPS = ("classes", "tags")
BLANK = 0
"""The symbol of CTC between symbols."""


@dataclass(frozen=True)
class Outputs:
    """What a head scores."""

    objective: Objective
    sizes: tuple[int, ...]
    """Number of classes of each kind; one number but for "classes". The blank of CTC is one."""


@dataclass(frozen=True)
class Loss:
    """A loss, and what it is a mean of."""

    total: Float[Tensor, ""]
    """Mean over items."""
    weight: float
    """Items: clips, symbols or frames; 0 if there is nothing to learn from."""
    metrics: Mapping[str, Float[Tensor, ""]] = field(default_factory=dict)
    """Figures that are means over rows."""


@dataclass(frozen=True)
class Scored:
    """Scores of a batch, and the time of frames."""

    scores: Float[Tensor, "batch *frames outputs"]
    lengths: Int[Tensor, " batch"]
    times: Float[Tensor, " frames"]
    """Seconds at the center of each frame."""


def label_loss(
    outputs: Outputs,
    scored: Scored,
    targets: Shaped[Tensor, "batch *most"],
    counts: Int[Tensor, " batch"],
) -> Loss:
    """Compute the loss of an objective.

    Args:
        outputs: What is scored.
        scored: Scores (batch, outputs) of clips, or (batch, frames, outputs).
        targets: Classes (batch, kinds), 0 or 1 for each tag, symbols from 1 (batch, most), or
            segments (batch, most, 3).
        counts: Valid targets of each row; -1 where nothing is known of it.

    Example:
        >>> scores = Scored(torch.zeros(1, 4), torch.tensor([9]), torch.zeros(9))
        >>> classes, counts = torch.tensor([[2]]), torch.tensor([1])
        >>> found = label_loss(Outputs("classes", (4,)), scores, classes, counts)
        >>> round(found.total.item(), 4)  # ln 4
        1.3863
    """
    scores = scored.scores.float()
    match outputs.objective:
        case "classes":
            parts = scores.split(outputs.sizes, dim=1)
            losses = [F.cross_entropy(part, targets[:, n]) for n, part in enumerate(parts)]
            return Loss(torch.stack(losses).sum(), float(len(scores)))
        case "tags":
            return Loss(F.binary_cross_entropy_with_logits(scores, targets), float(len(scores)))
        case "text":
            return _text_loss(scores, scored.lengths, targets, counts)
    return _frame_loss(outputs, scored, targets, counts)


def _text_loss(scores: Tensor, lengths: Tensor, symbols: Tensor, counts: Tensor) -> Loss:
    """CTC; a row takes part if its text can be spelled, the share of the others is `left_out`."""
    scores = scores.log_softmax(dim=-1)
    fits = can_be_spelled(symbols, counts, lengths)
    count = int(counts[fits].sum())
    # All parameters take part, as parallel training wants it, if no row does.
    loss = 0.0 * scores.sum()
    if count:
        with torch.autocast(scores.device.type, enabled=False):
            loss = F.ctc_loss(
                scores[fits].transpose(0, 1), symbols[fits], lengths[fits], counts[fits],
                blank=BLANK, reduction="sum",
            )  # fmt: skip
    return Loss(loss / max(1, count), float(count), {"left_out": (~fits).float().mean()})


def _frame_loss(outputs: Outputs, scored: Scored, segments: Tensor, counts: Tensor) -> Loss:
    scores = scored.scores.float()
    size = outputs.sizes[0]
    active = classes_of_frames(scored.times, segments, counts, size)
    valid = valid_mask(scored.lengths, scores.shape[1]) & (counts >= 0)[:, None]
    if outputs.objective == "frames":
        valid = valid & active.any(dim=2)
        losses = F.cross_entropy(scores.flatten(0, 1), active.int().argmax(2).flatten(),
                                 reduction="none").view(valid.shape)  # fmt: skip
    elif outputs.objective == "events":
        losses = F.binary_cross_entropy_with_logits(scores, active.float(), reduction="none")
        losses = losses.mean(dim=2)
    else:
        losses = permutation_free(scores, active.float(), valid) / size
        return Loss(losses.sum() / max(1, int(valid.sum())), float(valid.sum()))
    count = int(valid.sum())
    return Loss(losses.masked_fill(~valid, 0.0).sum() / max(1, count), float(count))


def classes_of_frames(
    times: Float[Tensor, " frames"],
    segments: Float[Tensor, "batch most three"],
    counts: Int[Tensor, " batch"],
    num_classes: int,
) -> Bool[Tensor, "batch frames classes"]:
    """Mark the classes whose segments a frame's center lies in.

    Example:
        >>> segments = torch.tensor([[[0.0, 1.0, 1.0]]])
        >>> classes_of_frames(torch.tensor([0.5, 1.5]), segments, torch.tensor([1]), 2)
        tensor([[[False,  True],
                 [False, False]]])
    """
    begin, end, classes = (part[..., None] for part in segments.unbind(dim=2))
    inside = (times >= begin) & (times < end) & valid_mask(counts, segments.shape[1])[..., None]
    hot = F.one_hot(classes[..., 0].long(), num_classes).float()
    return torch.einsum("bsf,bsc->bfc", inside.float(), hot) > 0


def can_be_spelled(
    symbols: Int[Tensor, "batch symbols"],
    counts: Int[Tensor, " batch"],
    frame_counts: Int[Tensor, " batch"],
) -> Bool[Tensor, " batch"]:
    """Whether a path of CTC spells each text: a frame a symbol, and a blank between equal ones."""
    valid = valid_mask(counts, symbols.shape[1])
    repeats = ((symbols[:, 1:] == symbols[:, :-1]) & valid[:, 1:]).sum(dim=1)
    return (counts > 0) & (counts + repeats <= frame_counts)


def collapsed(symbols: Int[Tensor, " frames"]) -> list[int]:
    """Join runs of one symbol, and drop blanks.

    Example:
        >>> collapsed(torch.tensor([0, 3, 3, 0, 3, 1]))  # 0 is the blank
        [3, 3, 1]
    """
    return [s for s in torch.unique_consecutive(symbols).tolist() if s != BLANK]


def probabilities(outputs: Outputs, scored: Scored) -> Sequence[Tensor]:
    """Turn scores into what is kept of each row.

    Returns:
        For clips a probability of every class or tag; for text symbols, of the best path; otherwise
        probabilities (frames, classes).
    """
    scores = scored.scores.float()
    match outputs.objective:
        case "classes":
            parts = scores.split(outputs.sizes, dim=1)
            return list(torch.cat([part.softmax(dim=1) for part in parts], dim=1))
        case "tags":
            return list(scores.sigmoid())
        case "text":
            best = scores.argmax(dim=-1)
            rows = zip(best, scored.lengths.tolist(), strict=True)
            return [torch.tensor(collapsed(row[:n]), dtype=torch.int64) for row, n in rows]
    found = scores.softmax(dim=2) if outputs.objective == "frames" else scores.sigmoid()
    return [row[:length] for row, length in zip(found, scored.lengths.tolist(), strict=True)]
