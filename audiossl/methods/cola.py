"""COLA: two crops of one recording belong together, crops of other recordings do not.

Source: Saeed, Grangier, Zeghidour, "Contrastive Learning of General-Purpose Audio
Representations" (ICASSP 2021), with the constants of its released code.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from audiossl import distributed
from audiossl.batches import ViewBatch
from audiossl.losses.info_nce import info_nce
from audiossl.methods.method import Losses
from audiossl.models.efficientnet import EfficientNet
from audiossl.nn.heads import TanhProjection
from audiossl.nn.similarity import BilinearSimilarity, CosineSimilarity


@dataclass(frozen=True, kw_only=True)
class ColaConfig:
    """What is trained around the encoder."""

    projection_dim: int = 512
    """Dimension in which crops are compared."""
    similarity: Literal["bilinear", "cosine"] = "bilinear"
    """a' W p without temperature, or the cosine over 0.2 (on the dense layer's output alone)."""
    noise: float = 0.001
    """Standard deviation of Gaussian noise added to positive waveforms after leveling."""
    exclude_same_recording: bool = False
    """Whether other crops of the anchor's recording are left out of its negatives."""


class Cola(nn.Module):
    """Encoder, projection head and similarity, trained to tell recordings apart by their crops."""

    def __init__(self, encoder: EfficientNet, config: ColaConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = config
        self.projection: nn.Module
        self.similarity: nn.Module
        if config.similarity == "bilinear":
            self.projection = TanhProjection(encoder.dim, config.projection_dim)
            self.similarity = BilinearSimilarity(config.projection_dim)
        else:
            self.projection = nn.Linear(encoder.dim, config.projection_dim)
            self.similarity = CosineSimilarity()

    def forward(self, batch: ViewBatch, step: int, generator: torch.Generator) -> Losses:  # noqa: ARG002
        """Compute the loss of finding each anchor's positive among those of all ranks."""
        anchors, positives = self.embed(self.images(batch, generator))
        scores = self.similarity(anchors, distributed.gather(positives))
        offset = distributed.rank() * len(anchors)
        loss = info_nce(scores, offset=offset, excluded=self.excluded(batch))
        targets = torch.arange(len(scores), device=scores.device) + offset
        return losses(loss, scores, targets)

    def images(
        self, batch: ViewBatch, generator: torch.Generator
    ) -> Float[Tensor, "two_batches frames bands"]:
        """Compute log-mel images: anchor, positive with its noise, anchor, positive, ...

        Pairs lie side by side, so that a rank's rows are a run of the whole batch's rows, and draws
        for all rows (stochastic depth) can be shared out.
        """
        positives = batch.positives
        if self.config.noise:
            positives = positives + self.config.noise * _noise_like(positives, generator)
        pairs = torch.stack([batch.anchors, positives], dim=1)
        return self.encoder.front_end(pairs.flatten(0, 1))

    def embed(
        self, images: Float[Tensor, "two_batches frames bands"]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch dim"]]:
        """Embed both views in one forward pass, so that batch norm sees all crops together."""
        lengths = torch.full((len(images),), images.shape[1], device=images.device)
        vectors = self.projection(self.encoder.encode_features(images, lengths).clip)
        return vectors[::2], vectors[1::2]

    def excluded(self, batch: ViewBatch) -> Bool[Tensor, "batch candidates"] | None:
        """Mark pairs of one recording, if they are not to be negatives."""
        if not self.config.exclude_same_recording:
            return None
        return batch.recordings[:, None] == distributed.gather(batch.recordings)


def losses(
    loss: Float[Tensor, ""], scores: Float[Tensor, "batch candidates"], targets: Tensor
) -> Losses:
    """Add the accuracy of the highest score to a contrastive loss."""
    accuracy = (scores.detach().argmax(dim=1) == targets).float().mean()
    return Losses(loss, float(len(scores)), {"accuracy": accuracy})


def _noise_like(waveforms: Tensor, generator: torch.Generator) -> Tensor:
    size, device = waveforms.shape[1:], waveforms.device
    return distributed.draw_rows(
        len(waveforms), lambda rows: torch.randn(rows, *size, generator=generator, device=device)
    )
