"""COLA: two crops of one recording belong together, crops of other recordings do not.

Source: Saeed, Grangier, Zeghidour, "Contrastive Learning of General-Purpose Audio
Representations" (ICASSP 2021), with the constants of its released code.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from audiossl import distributed
from audiossl.batches import DataFacts, ViewBatch
from audiossl.configs import Count, Nonnegative
from audiossl.errors import UserError
from audiossl.losses.build import (
    InfoNceConfig,
    LossConfig,
    is_pair_loss,
    needs_cosine,
    pair_loss,
    score_loss,
)
from audiossl.losses.pairs import Pairs
from audiossl.methods.method import Losses, Scores, context_of
from audiossl.models.encoder import Context, FeatureEncoder
from audiossl.nn.heads import TanhProjection
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

    def __post_init__(self) -> None:
        """Check that similarity, temperature and loss fit.

        Raises:
            UserError: Something that only cosines have is asked of the bilinear similarity.
        """
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
        if not is_pair_loss(config.loss):
            self.score_loss = score_loss(config.loss)
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
        context = context_of(step, self.data, generator)
        if is_pair_loss(self.config.loss):
            pairs = self.pairs(batch, context)
            loss, accuracy = pair_loss(self.config.loss, pairs), pairs.accuracy
        else:
            scores = self.score_pairs(batch, context)
            loss = self.score_loss(scores.values, scores.targets, scores.excluded)
            accuracy = scores.accuracy
        return Losses(loss, float(len(batch.anchors)), {"accuracy": accuracy})

    def pairs(self, batch: ViewBatch, context: Context) -> Pairs:
        """Embed this rank's pairs, for losses that gather and score them in chunks."""
        anchors, positives = self.embed(batch, context)
        groups = batch.recordings
        if not self.config.exclude_same_recording:
            groups = torch.arange(len(anchors), device=anchors.device)
            groups = groups + distributed.rank() * len(anchors)
        temperature = self.temperature(context)
        active = self.active(batch)
        return Pairs(anchors, positives, active, groups, self.similarity, temperature)

    def active(self, batch: ViewBatch) -> Bool[Tensor, " batch"]:
        """Say which positives are there: all."""
        return torch.ones_like(batch.active)

    def temperature(self, context: Context) -> float:
        """Compute what divides cosines at a step."""
        return temperature_at(self.config.temperature, context.step)

    def score_pairs(self, batch: ViewBatch, context: Context) -> Scores:
        """Score this rank's anchors against the positives of all ranks."""
        anchors, positives = self.embed(batch, context)
        candidates = distributed.gather(positives)
        scores = self.similarity(anchors, candidates, self.temperature(context))
        return Scores(scores, own_columns(scores), self.excluded(batch))

    def embed(
        self, batch: ViewBatch, context: Context
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch dim"]]:
        """Embed both crops in one forward pass, so that batch norm averages over all of them."""
        features, lengths = self.features(batch, context)
        frames = self.encoder.encode_features(features, lengths, context)
        vectors = self.projection(frames.clip)
        return vectors[::2], vectors[1::2]

    def features(
        self, batch: ViewBatch, context: Context
    ) -> tuple[Float[Tensor, "two_batches frames bins"], Int[Tensor, " two_batches"]]:
        """Compute features of anchor, positive, anchor, positive, ...

        Pairs lie side by side, so that a rank's rows are a run of the whole batch's rows, and draws
        for all rows (stochastic depth) can be shared out.
        """
        waveforms = torch.stack([batch.anchors, self.positives(batch, context)], dim=1).flatten(
            0, 1
        )
        lengths = torch.full((len(waveforms),), waveforms.shape[1], device=waveforms.device)
        # Crops have the level of the recording that they are from.
        return self.encoder.features_of_leveled(waveforms, lengths)

    def positives(self, batch: ViewBatch, context: Context) -> Float[Tensor, "batch samples"]:
        """Add noise to the positive waveforms."""
        if not self.config.noise:
            return batch.positives
        return batch.positives + self.config.noise * _noise_like(batch.positives, context.generator)

    def excluded(self, batch: ViewBatch) -> Bool[Tensor, "batch candidates"] | None:
        """Mark pairs of one recording, if they are not to be negatives."""
        if not self.config.exclude_same_recording:
            return None
        return batch.recordings[:, None] == distributed.gather(batch.recordings)


def own_columns(scores: Float[Tensor, "batch candidates"]) -> Int[Tensor, " batch"]:
    """Columns of this rank's positives among those of all ranks."""
    rows = torch.arange(len(scores), device=scores.device)
    return rows + distributed.rank() * len(scores)


def _noise_like(waveforms: Tensor, generator: torch.Generator | None) -> Tensor:
    size, device = waveforms.shape[1:], waveforms.device
    return distributed.draw_rows(
        len(waveforms), lambda rows: torch.randn(rows, *size, generator=generator, device=device)
    )
