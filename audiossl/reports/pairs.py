"""Pairs with audio and spectrograms: anchors and positives as in training, the strangest first.

A contrastive method is only as good as its pairs, and wrong ones (a stem that is another
instrument's leakage, a gate that closes too late, two copies of one recording) do not show in a
loss curve.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from audiossl.batches import ViewBatch, to_device
from audiossl.data.layout import MIXTURE, RECORDING
from audiossl.data.plan import Position
from audiossl.data.reading import SAMPLE_RATE
from audiossl.data.views import Draw, Views
from audiossl.losses.source_association import association_scores, null_target
from audiossl.methods.method import ScoresPairs
from audiossl.models.batching import encode_leveled
from audiossl.models.encoder import Context, Encoder

_TEMPERATURE = 0.2
"""Divides the cosine where there is an encoder and no method: that of `CosineSimilarity`."""
ABSENCE = "absence"


@dataclass(frozen=True)
class Pair:
    """An anchor, its positive, and their scores at a checkpoint."""

    recording: str
    """Id of the cut."""
    source: str
    """Source of the positive: "mixture", or the name of a stem."""
    active: bool
    """Whether the source counts as sounding in the segment."""
    dbfs: float
    """Mean magnitude of the source in the segment, dB of full scale, before leveling."""
    similarity: float
    """Score of the anchor and its target: its positive, or absence."""
    rank: int
    """Place of that among all candidates of the batch, from 1."""
    candidates: int
    surprise: float
    """Cross-entropy of the pair, in nats."""
    mistaken_for: str
    """The recording that scores highest instead, or "absence"; empty where rank is 1."""
    starts: tuple[float, float]
    """Seconds into the recording at which anchor and positive begin."""
    anchor: Float[np.ndarray, " samples"]
    positive: Float[np.ndarray, " samples"]


def inspect_pairs(
    views: Views, model: nn.Module, *, batches: int = 8, device: torch.device | None = None
) -> list[Pair]:
    """Draw the first batches of a run again and score their pairs.

    Args:
        views: Where batches come from.
        model: A method that scores pairs, or an encoder (cosine of clip vectors); of another
            method its encoder. In evaluation mode.
        batches: How many batches are drawn, at most an epoch.
        device: Where the model is; the CPU by default.

    Returns:
        All of their pairs, the most surprising first.
    """
    device = device or torch.device("cpu")
    pairs = [
        pair
        for number in range(min(batches, len(views.plan.epoch(0))))
        for pair in _batch_pairs(views, Position(0, number), model, device)
    ]
    return sorted(pairs, key=lambda pair: -pair.surprise)


def pair_scores(
    model: nn.Module, batch: ViewBatch
) -> tuple[Float[Tensor, "batch candidates"], Int[Tensor, " batch"]]:
    """Score every anchor against every candidate, as the model's training does.

    Returns:
        Scores, minus infinity for what is no candidate, and the column of each anchor's target: its
        own row, or, for an absent source, the last column.
    """
    with torch.inference_mode():
        if isinstance(model, ScoresPairs):
            generator = torch.Generator(batch.anchors.device).manual_seed(0)
            scores = model.score_pairs(batch, Context(generator=generator))
            return scores.softmax_values, scores.targets
        encoder = model if isinstance(model, Encoder) else model.get_submodule("encoder")
        anchors, positives = (_clips(encoder, v) for v in (batch.anchors, batch.positives))
        candidates = torch.cat([positives, null_target(positives, batch.active)[None]])
        return association_scores(anchors @ candidates.T / _TEMPERATURE, batch.active)


def _clips(
    encoder: nn.Module, waveforms: Float[Tensor, "batch samples"]
) -> Float[Tensor, "batch dim"]:
    lengths = torch.full((len(waveforms),), waveforms.shape[1], device=waveforms.device)
    # Crops have the level of their recording, as windows have where clips are embedded.
    frames = encode_leveled(cast(Encoder, encoder), waveforms, lengths)
    return F.normalize(frames.clip, dim=1)


def _batch_pairs(
    views: Views, position: Position, model: nn.Module, device: torch.device
) -> list[Pair]:
    draw, batch = views.draw(position), views.load(position)
    scores, targets = pair_scores(model, to_device(batch, device))
    scores, targets = scores.float().cpu(), targets.cpu()
    surprise = F.cross_entropy(scores, targets, reduction="none")
    own = scores.gather(1, targets[:, None])
    ranks = 1 + (scores > own).sum(dim=1)
    candidates = torch.isfinite(scores).sum(dim=1)
    best = scores.argmax(dim=1)
    names = [views.corpus.name(int(views.cuts[segment])) for segment in draw.segments]
    return [
        Pair(
            recording=names[row],
            source=draw.sources[row],
            active=bool(draw.active[row]),
            dbfs=_dbfs(views, draw, row),
            similarity=float(own[row]),
            rank=int(ranks[row]),
            candidates=int(candidates[row]),
            surprise=float(surprise[row]),
            mistaken_for="" if ranks[row] == 1 else ([*names, ABSENCE])[int(best[row])],
            starts=_starts(views, draw, row),
            anchor=batch.anchors[row].numpy(),
            positive=batch.positives[row].numpy(),
        )
        for row in range(len(names))
    ]


def _dbfs(views: Views, draw: Draw, row: int) -> float:
    segment = int(draw.positive_segments[row])
    source = draw.sources[row]
    field = views.corpus.fields[RECORDING if source == MIXTURE else source]
    magnitude = field.mean_magnitude(
        int(views.cuts[segment]), int(views.starts[segment]), int(views.lengths[segment])
    )
    return float(20 * np.log10(magnitude)) if magnitude > 0 else float("-inf")


def _starts(views: Views, draw: Draw, row: int) -> tuple[float, float]:
    anchor = views.starts[draw.segments[row]] + draw.anchor_offsets[row]
    positive = views.starts[draw.positive_segments[row]] + draw.positive_offsets[row]
    return max(0.0, float(anchor) / SAMPLE_RATE), max(0.0, float(positive) / SAMPLE_RATE)
