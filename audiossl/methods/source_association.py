"""Musical source association: a mixture belongs with its own stem, and absence is information.

Source: Garoufis, Zlatintsi, Maragos, "Multi-Source Contrastive Learning from Musical Audio" (SMC
2023), as its released code has it. Two deliberate differences, both by configuration: the null
input is the floor of the log-mel scale, which is what a silent waveform gives (the authors feed
0.0, a magnitude of 1, which is louder than music; their later CVSM feeds silent waveforms), and
activity comes as a flag with the batch, never from looking for zeros.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from audiossl import distributed
from audiossl.batches import ViewBatch
from audiossl.configs import Nonnegative
from audiossl.losses.source_association import association_scores, null_target
from audiossl.methods.cola import Cola, ContrastConfig
from audiossl.methods.method import Losses, Scores
from audiossl.models.encoder import Context


@dataclass(frozen=True, kw_only=True)
class SourceAssociationConfig(ContrastConfig):
    """Projection head, similarity and loss around an encoder, and the input of absent sources."""

    kind: Literal["source_association"] = "source_association"
    noise: Nonnegative = 0.0
    """Standard deviation of Gaussian noise added to positive waveforms; the authors add none."""
    null_input: Literal["floor", "zeros"] = "floor"
    """Features of an absent source: those of silence, or 0.0 everywhere (the authors')."""


class SourceAssociation(Cola):
    """COLA whose positives are stems, with one null target for those that are silent.

    Example:
        >>> import torch
        >>> from audiossl.models.log_mel_statistics import LogMelStatistics
        >>> config = SourceAssociationConfig(projection_dim=8)
        >>> method = SourceAssociation(LogMelStatistics(), config)
        >>> crops, active = torch.randn(3, 16000), torch.tensor([True, True, False])
        >>> batch = ViewBatch(crops, crops, active, torch.arange(3))
        >>> method.score_pairs(batch, Context()).targets  # the last column is the null target
        tensor([0, 1, 3])
    """

    config: SourceAssociationConfig

    def contrast(
        self, vectors: Float[Tensor, "two_batches dim"], batch: ViewBatch, step: int
    ) -> Losses:
        """Compute the loss of finding each mixture's stem, or its absence."""
        losses = super().contrast(vectors, batch, step)
        silent = (~batch.active).float().mean().to(vectors.device)
        return Losses(losses.total, losses.weight, {**losses.metrics, "silent": silent})

    def scores(
        self,
        anchors: Float[Tensor, "batch dim"],
        positives: Float[Tensor, "batch dim"],
        batch: ViewBatch,
        step: int,
    ) -> Scores:
        """Score mixtures against the stems of all ranks and, last, the null target."""
        active = distributed.gather(batch.active.to(anchors.device))
        candidates = distributed.gather(positives)
        candidates = torch.cat([candidates, null_target(candidates, active)[None]])
        offset = distributed.rank() * len(anchors)
        scores, targets = association_scores(
            self.similarity(anchors, candidates, self.temperature(step)), active,
            offset=offset, excluded=self.excluded(batch, anchors.device),
        )  # fmt: skip
        return Scores(scores, targets)

    def active(self, batch: ViewBatch) -> Bool[Tensor, " batch"]:
        """Say which stems sound."""
        return batch.active

    def positives(self, batch: ViewBatch, context: Context) -> Float[Tensor, "batch samples"]:
        """Add noise to the stems; absent ones are silent."""
        return super().positives(batch, context).masked_fill(~batch.active[:, None], 0.0)

    def features(
        self, batch: ViewBatch, context: Context
    ) -> tuple[Float[Tensor, "two_batches frames bins"], Int[Tensor, " two_batches"]]:
        """Compute features of mixture, stem, mixture, stem, ..."""
        features, lengths = super().features(batch, context)
        if self.config.null_input == "zeros":
            absent = torch.stack([torch.zeros_like(batch.active), ~batch.active], dim=1).flatten()
            features = features.masked_fill(absent[:, None, None], 0.0)
        return features, lengths
