"""Cross-modal code matching: the modalities of a pair choose alike from the codebook they share.

The choices of a clip are a distribution over entries, the mean of its frames' distributions. Two
clips are as similar as minus the symmetric cross-entropy of their distributions, and InfoNCE on
that similarity, without temperature, is the loss. Positives alone would be satisfied by one entry
for everything.

Source: Liu et al., "Cross-Modal Discrete Representation Learning" (ACL 2022), section 3.3.
"""

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from audiossl.losses.info_nce import info_nce

FLOOR = -60.0
"""Log-probability that stands in for impossible ones, so that 0 times it is 0."""


def clip_log_distribution(
    frame_log_probabilities: Float[Tensor, "batch frames size"],
    weights: Float[Tensor, "batch frames"],
) -> Float[Tensor, "batch size"]:
    """Average the frames' distributions over each clip, as logarithms.

    Args:
        frame_log_probabilities: Of each frame.
        weights: How much each frame counts, 0 for padding; validity alone is the paper's. Of a clip
            without any, what comes out is finite and means nothing.
    """
    # All frames of such a clip, because a logarithm of nothing has no gradient.
    weights = torch.where(weights.sum(dim=1, keepdim=True) > 0, weights, torch.ones_like(weights))
    shares = weights / weights.sum(dim=1, keepdim=True)
    # log of a mean of exponentials, which never underflows as the mean itself would.
    logs = shares.clamp(min=torch.finfo(shares.dtype).tiny).log()
    logs = logs.masked_fill(weights == 0, float("-inf"))
    return torch.logsumexp(frame_log_probabilities + logs[..., None], dim=1).clamp(min=FLOOR)


def windows(
    values: Float[Tensor, "batch frames size"],
    weights: Float[Tensor, "batch frames"],
    num_windows: int,
    frames_per_window: float,
) -> tuple[Float[Tensor, "pieces most size"], Float[Tensor, "pieces most"]]:
    """Cut clips into windows of equal time; row `clip * num_windows + window` is one of them.

    Histograms of whole clips become alike where clips hold many different units; those of windows
    do not. Windows without frames have weight 0 throughout.

    Args:
        values: One vector a frame.
        weights: How much each frame counts.
        num_windows: Windows a clip, the same for every clip.
        frames_per_window: Frames a window; a fraction where rates do not divide.
    """
    edges = [round(index * frames_per_window) for index in range(num_windows + 1)]
    most = max(edges[i + 1] - edges[i] for i in range(num_windows))
    starts = torch.tensor(edges[:-1], device=values.device)
    places = starts[:, None] + torch.arange(most, device=values.device)
    inside = places < torch.tensor(edges[1:], device=values.device)[:, None]
    inside &= places < values.shape[1]
    at = places.clamp(max=values.shape[1] - 1)
    return values[:, at].flatten(0, 1), (weights[:, at] * inside).flatten(0, 1)


def run_length_weights(
    codes: Int64[Tensor, "batch frames"], valid: Bool[Tensor, "batch frames"]
) -> Float[Tensor, "batch frames"]:
    """Weigh each frame by 1 over the length of the run of equal codes that it is in.

    A long vowel then counts like one token of text; our addition to the paper.
    """
    first = torch.ones_like(valid)
    first[:, 1:] = (codes[:, 1:] != codes[:, :-1]) | ~valid[:, :-1]
    run = first.long().cumsum(dim=1) - 1
    lengths = torch.zeros_like(codes).scatter_add_(1, run, valid.long())
    return valid / lengths.gather(1, run).clamp(min=1)


def code_similarity(
    first: Float[Tensor, "batch size"],
    second: Float[Tensor, "candidates size"],
    *,
    stop_gradient: bool = False,
) -> Float[Tensor, "batch candidates"]:
    """Score clips by minus the symmetric cross-entropy of their distributions.

    Σ_v P(v) log Q(v) + Σ_v Q(v) log P(v), which is -2 ln V for uniform P and Q of V entries.

    Args:
        first: Log-distributions of anchors.
        second: Log-distributions of candidates.
        stop_gradient: The distribution outside the logarithm is constant: each modality learns to
            predict the other, and none to be easier to predict. Not in the paper.

    Example:
        >>> uniform = torch.full((1, 4), 1 / 4).log()
        >>> code_similarity(uniform, uniform)  # -2 ln 4
        tensor([[-2.7726]])
    """
    shares, other_shares = first.exp(), second.exp()
    if stop_gradient:
        shares, other_shares = shares.detach(), other_shares.detach()
    return shares @ second.T + first @ other_shares.T


def covering_similarity(
    whole: Float[Tensor, "batch size"], part: Float[Tensor, "candidates size"]
) -> Float[Tensor, "batch candidates"]:
    """Score how well the wholes' distributions cover the parts': Σ_v P_part(v) log P_whole(v).

    For a mixture and one of its stems: the mixture may hold more, and is not asked to forget it.
    Our addition to the paper.
    """
    return whole @ part.exp().T


def code_matching(
    scores: Float[Tensor, "batch candidates"],
    *,
    offset: int = 0,
    excluded: Bool[Tensor, "batch candidates"] | None = None,
    valid: Bool[Tensor, " batch"] | None = None,
    num_valid: Float[Tensor, ""] | None = None,
) -> Float[Tensor, ""]:
    """Average the InfoNCE of code similarities over the valid anchors (L_CMCM).

    Args:
        scores: Of this rank's anchors against every rank's candidates.
        offset: Column of the first anchor's positive.
        excluded: Pairs that are no negatives.
        valid: Which anchors exist; windows behind the end of a clip do not.
        num_valid: What their sum is divided by; on several ranks, the mean number of a rank.
    """
    if valid is None:
        return info_nce(scores, offset=offset, excluded=excluded)
    losses = info_nce(scores, offset=offset, excluded=excluded, reduction="none")
    count = valid.sum() if num_valid is None else num_valid
    return losses.masked_fill(~valid, 0.0).sum() / count.clamp(min=1)


def near_windows(
    clips: Int[Tensor, " batch"], places: Int[Tensor, " batch"], gap: int
) -> Bool[Tensor, "batch batch"]:
    """Mark windows of one clip that are less than `gap` windows apart: too alike to be negatives.

    Args:
        clips: Which clip each window is of.
        places: Its number within the clip.
        gap: In windows.
    """
    near = (places[:, None] - places).abs() < gap
    return near & (clips[:, None] == clips)
