"""COLA: two crops of one recording belong together, crops of other recordings do not.

Source: Saeed, Grangier, Zeghidour, "Contrastive Learning of General-Purpose Audio
Representations" (ICASSP 2021), with the constants of its released code.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from audiossl import distributed
from audiossl.batches import DataFacts, ViewBatch
from audiossl.configs import Count, Nonnegative, Whole
from audiossl.errors import UserError
from audiossl.losses.build import (
    InfoNceConfig,
    LossConfig,
    UniformityConfig,
    is_pair_loss,
    needs_cosine,
    pair_loss,
    score_loss,
)
from audiossl.losses.pairs import Pairs
from audiossl.methods.crops import crop_features, paired
from audiossl.methods.method import Losses, Scores, context_of
from audiossl.models.encoder import Context, FeatureEncoder
from audiossl.nn.heads import TanhProjection
from audiossl.nn.queue import VectorQueue
from audiossl.nn.similarity import BilinearSimilarity, CosineSimilarity, Similarity
from audiossl.optim.temperature import (
    ConstantTemperature,
    TemperatureConfig,
    temperature_at,
)


@dataclass(frozen=True, kw_only=True)
class ContrastConfig:
    """Settings of COLA and of methods that differ from it in their pairs."""

    projection_dim: Count = 512
    """Dimension of the projections in which crops are compared."""
    similarity: Literal["bilinear", "cosine"] = "bilinear"
    """Similarity of two projections: a' W p, or the cosine over a temperature (on the dense layer's
    output alone)."""
    temperature: TemperatureConfig = ConstantTemperature()
    """Temperature that divides cosines: one number, or a cycle over steps."""
    loss: LossConfig = InfoNceConfig()
    """Contrastive loss, or python:module:function of scores, targets, excluded."""
    noise: Nonnegative = 0.001
    """Standard deviation of Gaussian noise added to positive waveforms after leveling."""
    exclude_same_recording: bool = False
    """Whether other crops of the anchor's recording are left out of its negatives."""
    queue: Whole = 0
    """Number of positives of earlier batches that are negatives, too, as the encoder projected them
    then; none of the anchor's recording with `exclude_same_recording`."""

    def __post_init__(self) -> None:
        """Check that similarity, temperature and loss fit.

        Raises:
            UserError: Something that only cosines have is asked of the bilinear similarity, or
                negatives of a loss that has none.
        """
        if self.queue and isinstance(self.loss, UniformityConfig):
            raise UserError("loss uniformity has no negatives to queue: set queue: 0")
        if self.similarity == "cosine":
            return
        if needs_cosine(self.loss):
            raise UserError(f"loss {self.loss.kind} needs cosines: set similarity: cosine")
        if self.temperature != ConstantTemperature():
            raise UserError("similarity bilinear has no temperature: set similarity: cosine")


@dataclass(frozen=True, kw_only=True)
class ColaConfig(ContrastConfig):
    """Projection head, similarity and loss around an encoder."""

    kind: Literal["cola"] = "cola"


class Cola(nn.Module):
    """Encoder, projection head and similarity, trained to tell recordings apart by their crops.

    Example:
        >>> from audiossl.models.log_mel_statistics import LogMelStatistics
        >>> cola = Cola(LogMelStatistics(), ColaConfig(projection_dim=8))
        >>> crops = torch.randn(3, 16000)
        >>> batch = ViewBatch(crops, crops, torch.ones(3, dtype=torch.bool), torch.arange(3))
        >>> cola.score_pairs(batch, Context()).values.shape
        torch.Size([3, 3])
    """

    def __init__(
        self, encoder: FeatureEncoder, config: ContrastConfig, data: DataFacts | None = None
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = config
        self.data = data or DataFacts()
        check_fits(config, self.data)
        if not is_pair_loss(config.loss):
            self.score_loss = score_loss(config.loss)
        self.queue = VectorQueue(config.queue, config.projection_dim) if config.queue else None
        self.projection: nn.Module
        self.similarity: Similarity
        if config.similarity == "bilinear":
            self.projection = TanhProjection(encoder.clip_dim, config.projection_dim)
            self.similarity = BilinearSimilarity(config.projection_dim)
        else:
            self.projection = nn.Linear(encoder.clip_dim, config.projection_dim)
            self.similarity = CosineSimilarity()

    def forward(self, batch: ViewBatch, step: int, generator: torch.Generator) -> Losses:
        """Compute the loss of finding each anchor's positive among those of all ranks."""
        return self.contrast(self.vectors(batch, step, generator), batch, step)

    def vectors(
        self, batch: ViewBatch, step: int, generator: torch.Generator
    ) -> Float[Tensor, "two_batches dim"]:
        """Project anchor, positive, anchor, positive, ..."""
        return self.project(batch, context_of(step, self.data, generator))

    def contrast(
        self, vectors: Float[Tensor, "two_batches dim"], batch: ViewBatch, step: int
    ) -> Losses:
        """Compare the projections of a whole batch, in float32 whatever they were made in."""
        with torch.autocast(vectors.device.type, enabled=False):
            vectors = vectors if vectors.dtype == torch.float64 else vectors.float()
            anchors, positives = vectors[::2], vectors[1::2]
            if is_pair_loss(self.config.loss):
                pairs = self.pairs(anchors, positives, batch, step)
                loss, accuracy = pair_loss(self.config.loss, pairs), pairs.accuracy
            else:
                scores = self.scores(anchors, positives, batch, step)
                scores = self.with_queue(scores, anchors, batch, step)
                loss = self.score_loss(scores.values, scores.targets, scores.excluded)
                accuracy = scores.accuracy
        if self.queue is not None and self.training:
            active = self.active(batch)
            absent = torch.zeros_like(batch.active) if active is None else ~active
            self.queue.add(positives, batch.recordings.masked_fill(absent, -1))
        metrics = {"accuracy": accuracy}
        if not self.changes_crops:
            same = (batch.anchors == batch.positives).all(dim=1)
            if (active := self.active(batch)) is not None:
                same &= active
            metrics["identical"] = same.float().mean().to(vectors.device)
        return Losses(loss, float(len(anchors)), metrics)

    def after_update(self) -> None:
        """Let the queue take in the batch."""
        if self.queue is not None:
            self.queue.advance()

    @property
    def changes_crops(self) -> bool:
        """Whether crops that are the same come to differ."""
        return self.config.noise > 0 or self.data.augmentations is not None

    def pairs(
        self,
        anchors: Float[Tensor, "batch dim"],
        positives: Float[Tensor, "batch dim"],
        batch: ViewBatch,
        step: int,
    ) -> Pairs:
        """Say which projections belong together, for losses that score them in chunks."""
        device, by_recording = anchors.device, self.config.exclude_same_recording
        own = torch.arange(len(anchors), device=device) + distributed.rank() * len(anchors)
        active = self.active(batch)
        pairs = Pairs(
            anchors, positives, None if active is None else active.to(device),
            batch.recordings.to(device) if by_recording else own,
            self.similarity, self.temperature(step),
            None if batch.priors is None else batch.priors.to(device),
        )  # fmt: skip
        if self.queue is None:
            return pairs
        numbers = self.queue.recordings
        groups = numbers if by_recording else torch.full_like(numbers, -1)
        return replace(pairs, queue=self.queue.entries, queue_groups=groups)

    def active(self, batch: ViewBatch) -> Bool[Tensor, " batch"] | None:  # noqa: ARG002
        """Say which positives are there; None: all."""
        return None

    def temperature(self, step: int) -> float:
        """Compute what divides cosines at a step."""
        return temperature_at(self.config.temperature, step)

    def score_pairs(self, batch: ViewBatch, context: Context) -> Scores:
        """Score this rank's anchors against the positives of all ranks."""
        vectors = self.project(batch, context)
        return self.scores(vectors[::2], vectors[1::2], batch, context.step)

    def scores(
        self,
        anchors: Float[Tensor, "batch dim"],
        positives: Float[Tensor, "batch dim"],
        batch: ViewBatch,
        step: int,
    ) -> Scores:
        """Score projected anchors against the positives of all ranks."""
        candidates = distributed.gather(positives)
        scores = self.similarity(anchors, candidates, self.temperature(step))
        return Scores(scores, own_columns(scores), self.excluded(batch, anchors.device))

    def with_queue(
        self, scores: Scores, anchors: Float[Tensor, "batch dim"], batch: ViewBatch, step: int
    ) -> Scores:
        """Add the candidates of earlier batches."""
        if self.queue is None:
            return scores
        more = self.similarity(anchors, self.queue.entries, self.temperature(step))
        if self.config.exclude_same_recording:
            own = batch.recordings.to(anchors.device)[:, None] == self.queue.recordings
            more = more.masked_fill(own, float("-inf"))
        return Scores(torch.cat([scores.softmax_values, more], dim=1), scores.targets)

    def project(self, batch: ViewBatch, context: Context) -> Float[Tensor, "two_batches dim"]:
        """Project both crops in one forward pass, so that batch norm averages over all of them."""
        features, lengths = self.features(batch, context)
        frames = self.encoder.encode_features(features, lengths, context)
        return self.projection(frames.clip)

    def features(
        self, batch: ViewBatch, context: Context
    ) -> tuple[Float[Tensor, "two_batches frames bins"], Int[Tensor, " two_batches"]]:
        """Compute features of anchor, positive, anchor, positive, ..."""
        crops = paired(batch, self.positives(batch, context))
        return crop_features(self.encoder, *crops, self.data, context)

    def positives(self, batch: ViewBatch, context: Context) -> Float[Tensor, "batch samples"]:
        """Add noise to the positive waveforms."""
        if not self.config.noise:
            return batch.positives
        return batch.positives + self.config.noise * _noise_like(batch.positives, context.generator)

    def excluded(
        self, batch: ViewBatch, device: torch.device
    ) -> Bool[Tensor, "batch candidates"] | None:
        """Mark pairs of one recording, if they are not to be negatives."""
        if not self.config.exclude_same_recording:
            return None
        recordings = batch.recordings.to(device)
        return recordings[:, None] == distributed.gather(recordings)


def check_fits(config: ContrastConfig, data: DataFacts) -> None:
    """Check what only the data can tell.

    Raises:
        UserError: The queue is longer than an epoch, or the loss wants priors and there are none.
    """
    if data.num_items and config.queue > data.num_items:
        raise UserError(
            f"queue of {config.queue} is larger than the corpus of {data.num_items} segments: all "
            "of them would stand in it, the anchor's own too: give a smaller one"
        )
    if isinstance(config.loss, UniformityConfig) and config.loss.kernel and not data.prior_dim:
        raise UserError(
            "loss uniformity with a kernel needs priors: name columns, tags or vectors in "
            "views.priors"
        )


def own_columns(scores: Float[Tensor, "batch candidates"]) -> Int[Tensor, " batch"]:
    """Columns of this rank's positives among those of all ranks."""
    rows = torch.arange(len(scores), device=scores.device)
    return rows + distributed.rank() * len(scores)


def _noise_like(waveforms: Tensor, generator: torch.Generator | None) -> Tensor:
    size, device = waveforms.shape[1:], waveforms.device
    return distributed.draw_rows(
        len(waveforms), lambda rows: torch.randn(rows, *size, generator=generator, device=device)
    )
