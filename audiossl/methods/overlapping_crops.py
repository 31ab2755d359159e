"""Two crops of each cut that overlap: what is said of a frame does not depend on what is around it.

Frames of both crops learn from the labels of the cut, where it has any, and frames that both crops
have learn from each other: cuts without labels teach something, too.

Source: TraCoCo (see `losses.consistency`).
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from audiossl import distributed
from audiossl.batches import LabelBatch
from audiossl.configs import Nonnegative, Share
from audiossl.data.layout import SAMPLE_RATE
from audiossl.errors import UserError
from audiossl.losses.consistency import mutual_divergence
from audiossl.losses.labels import Loss, Outputs, Scored


@dataclass(frozen=True, kw_only=True)
class ConsistencyConfig:
    """Agreement of two overlapping crops, for frames."""

    weight: Nonnegative = 1.0
    """Weight of a frame's divergence from the other crop against its loss by labels."""
    crop: Share = 0.75
    """Share of a cut that each of its crops has; above 0.5, so that they overlap."""
    confidence: Share = 0.65
    """Minimum probability from which a frame teaches that of the other crop."""

    def __post_init__(self) -> None:
        """Check what the type does not.

        Raises:
            UserError: Crops need not overlap.
        """
        if self.crop <= 0.5:
            raise UserError(
                f"method.consistency.crop is {self.crop}: two crops need not overlap; give a share "
                "above 0.5"
            )


def overlapping_crops(
    batch: LabelBatch, share: float, frame_rate: float, generator: torch.Generator
) -> tuple[LabelBatch, Int[Tensor, "batch two"]]:
    """Crop each cut twice, at random, from frame to frame.

    Args:
        batch: Cuts, whose targets are segments.
        share: Share of a cut's frames in each of its crops.
        frame_rate: Frames a second; crops begin at the start of one.
        generator: Source of randomness.

    Returns:
        Crops in the order first, second, first, second, ..., with the times of their segments, and
        the frame that each begins at.
    """
    step, device = SAMPLE_RATE / frame_rate, batch.waveforms.device
    frames = (batch.lengths / step).floor().clamp(min=1)
    kept = (share * frames).ceil()
    draws = distributed.draw_rows(
        len(frames), lambda rows: torch.rand(rows, 2, generator=generator, device=generator.device)
    )
    starts = (draws.to(device) * (frames - kept + 1)[:, None]).floor().long()
    lengths = torch.minimum((kept * step).round().long(), batch.lengths).repeat_interleave(2)
    targets = batch.targets.repeat_interleave(2, dim=0)
    targets[..., :2] -= (starts / frame_rate).view(-1, 1, 1)
    waveforms = batch.waveforms.repeat_interleave(2, dim=0)
    first = (starts * step).round().long().flatten()
    width = min(waveforms.shape[1], math.ceil(share * waveforms.shape[1] + step))
    crops = _cropped(waveforms, first, lengths, width)
    return LabelBatch(crops, lengths, targets, batch.counts.repeat_interleave(2)), starts


def with_consistency(
    loss: Loss,
    outputs: Outputs,
    scored: Scored,
    starts: Int[Tensor, "batch two"],
    config: ConsistencyConfig,
) -> Loss:
    """Add the divergence of crops to the loss of their labels, as a mean over all of their frames.

    Args:
        loss: That of the labels.
        outputs: What is scored: "frames" or "events".
        scored: Scores of crops in the order of `overlapping_crops`.
        starts: The frame that each crop begins at.
        config: Weight and confidence.
    """
    scores, count = scored.scores.float(), int(scored.lengths.sum())
    places, shared = overlap(scored.lengths, starts, scores.shape[1])
    second = scores[1::2].gather(1, places[..., None].expand(-1, -1, scores.shape[2]))
    divergence = mutual_divergence(
        scores[::2], second, exclusive=outputs.objective == "frames", confidence=config.confidence
    ).masked_fill(~shared, 0.0)  # fmt: skip
    total = (loss.total * loss.weight + config.weight * divergence.sum()) / max(1, count)
    mean = divergence.detach().sum() / shared.sum().clamp(min=1)
    return replace(loss, total=total, weight=float(count), metrics={"divergence": mean})


def overlap(
    lengths: Int[Tensor, " crops"], starts: Int[Tensor, "batch two"], num_frames: int
) -> tuple[Int[Tensor, "batch frames"], Bool[Tensor, "batch frames"]]:
    """Find the frame of the second crop at the time of each of the first, and whether both have it.

    Example:
        >>> overlap(torch.tensor([3, 3]), torch.tensor([[4, 5]]), 3)
        (tensor([[0, 0, 1]]), tensor([[False,  True,  True]]))
    """
    frames = torch.arange(num_frames, device=starts.device)
    places = frames + (starts[:, :1] - starts[:, 1:])
    shared = (frames < lengths[::2, None]) & (places >= 0) & (places < lengths[1::2, None])
    return places.clamp(0, max(0, num_frames - 1)), shared


def _cropped(
    waveforms: Float[Tensor, "crops samples"],
    starts: Int[Tensor, " crops"],
    lengths: Int[Tensor, " crops"],
    width: int,
) -> Float[Tensor, "crops width"]:
    places = torch.arange(width, device=waveforms.device)
    wanted = (starts[:, None] + places).clamp(max=waveforms.shape[1] - 1)
    return waveforms.gather(1, wanted).masked_fill(places >= lengths[:, None], 0.0)
