"""Code distributions of two modalities compared: whole clips, or windows of equal time."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from audiossl import distributed
from audiossl.configs import Positive, Whole
from audiossl.losses.code_matching import (
    clip_log_distribution,
    code_matching,
    code_similarity,
    covering_similarity,
    near_windows,
    windows,
)


@dataclass(frozen=True, kw_only=True)
class CodeScoresConfig:
    """Comparison of the modalities' codes."""

    symmetric: bool = False
    """Whether both directions are averaged; the paper has only the first modality as anchors, which
    gives candidates with few entries an advantage."""
    stop_gradient: bool = False
    """Whether each modality predicts the other's distribution without gradient through that."""
    score: Literal["mutual", "covering"] = "mutual"
    """Score of two clips. mutual: minus the symmetric cross-entropy (the paper); covering: the
    first modality (a mixture) is to hold what the second (a stem) has, and may hold more."""
    run_length: bool = False
    """Whether runs of equal codes count as one frame, so that speech counts like its text."""
    window: Positive | None = None
    """Duration in seconds of windows that both modalities are cut into, for pairs that lie on one
    time axis; null: whole clips (the paper)."""
    gap: Whole = 2
    """Least distance, in windows, of windows of one clip that are negatives of each other."""


@dataclass(frozen=True)
class CodeLoss:
    """Code matching loss of two modalities of a batch."""

    loss: Float[Tensor, ""]
    accuracy: Float[Tensor, ""]
    """Share of first modalities whose own second modality is the most similar."""


@dataclass(frozen=True)
class Choices:
    """Distributions over entries of the frames of one modality of some clips."""

    log_probabilities: Float[Tensor, "batch frames size"]
    weights: Float[Tensor, "batch frames"]
    """Weight of each frame; 0 for padding."""
    frame_rate: float
    """Frames a second."""


def pair_code_loss(
    first: Choices, second: Choices, excluded: Bool[Tensor, "batch clips"], config: CodeScoresConfig
) -> CodeLoss:
    """Compare the modalities' distributions, of this rank's clips against those of all ranks.

    Args:
        first: The first modality.
        second: The second modality.
        excluded: Pairs of clips that are no negatives.
        config: How.

    Example:
        >>> choices = Choices((9 * torch.eye(4)).log_softmax(1)[:, None], torch.ones(4, 1), 50.0)
        >>> own = torch.zeros(4, 4, dtype=torch.bool)
        >>> float(pair_code_loss(choices, choices, own, CodeScoresConfig()).accuracy)
        1.0
    """
    count = _num_windows(first, second, config.window)
    (own, valid), (other, other_valid) = (
        _cut(modality, count, config) for modality in (first, second)
    )
    valid = valid & other_valid
    masked = _excluded(excluded, valid, count, config.gap)
    offset = distributed.rank() * len(own)
    num_valid = distributed.total(valid.sum().to(own)) / distributed.world_size()
    matched = partial(
        code_matching, offset=offset, excluded=masked, valid=valid, num_valid=num_valid
    )
    scores = _scores(own, distributed.gather(other), config)
    loss = matched(scores)
    if config.symmetric:
        loss = (loss + matched(_scores(distributed.gather(own), other, config).T)) / 2
    targets = torch.arange(len(own), device=own.device) + offset
    right = (scores.detach().argmax(dim=1) == targets) & valid
    return CodeLoss(loss, right.sum() / num_valid.clamp(min=1))


def _num_windows(first: Choices, second: Choices, window: float | None) -> int:
    """Count the windows of the longest clip; padding is as long on all ranks."""
    if window is None:
        return 1
    seconds = max(modality.weights.shape[1] / modality.frame_rate for modality in (first, second))
    return max(1, math.ceil(seconds / window - 1e-6))


def _cut(
    modality: Choices, count: int, config: CodeScoresConfig
) -> tuple[Float[Tensor, "pieces size"], Bool[Tensor, " pieces"]]:
    values, weights = modality.log_probabilities, modality.weights
    if config.window is not None:
        values, weights = windows(values, weights, count, config.window * modality.frame_rate)
    return clip_log_distribution(values, weights), weights.sum(dim=1) > 0


def _excluded(
    clips: Bool[Tensor, "batch clips"], valid: Bool[Tensor, " pieces"], count: int, gap: int
) -> Bool[Tensor, "pieces candidates"]:
    """Say which windows are no negatives: of partners, of the same time, or not there."""
    rows, columns = clips.shape
    absent = ~distributed.gather(valid)
    if count == 1:
        return clips | absent
    place = torch.arange(columns * count, device=clips.device)
    clip = place // count
    own = slice(distributed.rank() * rows * count, (distributed.rank() + 1) * rows * count)
    near = near_windows(clip, place % count, gap)[own]
    partners = clips.repeat_interleave(count, 0).repeat_interleave(count, 1)
    return (partners & (clip[own, None] != clip)) | near | absent


def _scores(first: Tensor, second: Tensor, config: CodeScoresConfig) -> Tensor:
    if config.score == "covering":
        return covering_similarity(first, second)
    return code_similarity(first, second, stop_gradient=config.stop_gradient)
