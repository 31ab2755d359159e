"""Musical source association: a mixture belongs with its own stem, and absence is information.

Source: Garoufis, Zlatintsi, Maragos, "Multi-Source Contrastive Learning from Musical Audio" (SMC
2023), as its released code has it. Two deliberate differences, both by configuration: the null
input is the floor of the log-mel scale, which is what a silent waveform gives (the authors feed
0.0, a magnitude of 1, which is louder than music; their later CVSM feeds silent waveforms), and
activity comes as a flag with the batch, never from looking for zeros.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from audiossl import distributed
from audiossl.batches import ViewBatch
from audiossl.features.log_mel import FLOOR
from audiossl.losses.source_association import association_scores, null_target
from audiossl.methods.cola import Cola, ColaConfig, losses
from audiossl.methods.method import Losses
from audiossl.models.efficientnet import EfficientNet


@dataclass(frozen=True, kw_only=True)
class SourceAssociationConfig(ColaConfig):
    """What is trained around the encoder, and what stands for a source that is absent."""

    noise: float = 0.0
    """Standard deviation of Gaussian noise added to positive waveforms; the authors add none."""
    null_input: Literal["floor", "zeros"] = "floor"
    """Image of an absent source: the log-mel of silence, or 0.0 everywhere (the authors')."""


class SourceAssociation(Cola):
    """COLA whose positives are stems, with one null target for those that are silent."""

    def __init__(self, encoder: EfficientNet, config: SourceAssociationConfig) -> None:
        super().__init__(encoder, config)
        self.null_input = config.null_input

    def forward(self, batch: ViewBatch, step: int, generator: torch.Generator) -> Losses:  # noqa: ARG002
        """Compute the loss of finding each mixture's stem, or its absence."""
        images = self.with_null_input(self.images(batch, generator), batch)
        anchors, positives = self.embed(images)
        candidates, active = distributed.gather(positives), distributed.gather(batch.active)
        candidates = torch.cat([candidates, null_target(candidates, active)[None]])
        scores, targets = association_scores(
            self.similarity(anchors, candidates),
            active,
            offset=distributed.rank() * len(anchors),
            excluded=self.excluded(batch),
        )
        result = losses(F.cross_entropy(scores, targets), scores, targets)
        silent = (~batch.active).float().mean()
        return Losses(result.total, result.weight, {**result.parts, "silent": silent})

    def with_null_input(
        self, images: Float[Tensor, "two_batches frames bands"], batch: ViewBatch
    ) -> Float[Tensor, "two_batches frames bands"]:
        """Put the null input where a positive's source is absent."""
        value = 0.0 if self.null_input == "zeros" else math.log(FLOOR)
        absent = torch.stack([torch.zeros_like(batch.active), ~batch.active], dim=1).flatten()
        return images.masked_fill(absent[:, None, None], value)
