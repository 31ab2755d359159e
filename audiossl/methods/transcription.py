"""Fine-tuning for transcription: one linear layer on the encoder, and CTC over characters.

Source: the fine-tuning of SPEAR's authors, of whose two heads (CTC and a pruned transducer) this is
the simpler one.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from audiossl.batches import TextBatch
from audiossl.features.spec_augment import SpecAugmentConfig, spec_augment
from audiossl.methods.method import Losses
from audiossl.models.encoder import FeatureEncoder
from audiossl.nn.frames import Frames

BLANK = 0
"""The symbol between symbols."""


@dataclass(frozen=True, kw_only=True)
class TranscriptionConfig:
    """What is trained on top of the encoder."""

    dropout: float = 0.1
    """Of the encoder's output."""
    augmentation: SpecAugmentConfig = field(default_factory=SpecAugmentConfig)
    """What is hidden from the encoder."""


class Transcription(nn.Module):
    """An encoder and a classifier of characters."""

    def __init__(
        self, encoder: FeatureEncoder, config: TranscriptionConfig, num_symbols: int
    ) -> None:
        """Put a classifier on an encoder.

        Args:
            encoder: What is fine-tuned.
            config: How.
            num_symbols: Characters; the blank is one more, and the first.
        """
        super().__init__()
        self.encoder = encoder
        self.config = config
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(encoder.dim, num_symbols + 1)

    def forward(self, batch: TextBatch, step: int, generator: torch.Generator) -> Losses:  # noqa: ARG002
        """Compute the loss of a batch, in nats a character."""
        features, lengths = self.encoder.features(batch.waveforms, batch.lengths)
        features = spec_augment(features, lengths, self.config.augmentation, generator)
        frames = self.encoder.encode_features(features, lengths)
        scores = self.scores(frames)
        with torch.autocast(scores.device.type, enabled=False):
            loss = F.ctc_loss(
                scores.transpose(0, 1), batch.symbols, frames.lengths, batch.symbol_counts,
                blank=BLANK, reduction="sum", zero_infinity=True,
            )  # fmt: skip
        count = max(1, int(batch.symbol_counts.sum()))
        return Losses(loss / count, float(count))

    def scores(self, frames: Frames) -> Float[Tensor, "batch frames symbols"]:
        """Log-probabilities of symbols in each frame."""
        return self.classifier(self.dropout(frames.vectors)).float().log_softmax(dim=-1)

    @torch.no_grad()
    def transcribe(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> list[list[int]]:
        """Take the best symbol of each frame, join those that repeat, and drop blanks."""
        frames = self.encoder(waveforms, lengths)
        best = self.scores(frames).argmax(dim=-1)
        return [
            collapsed(row[:length])
            for row, length in zip(best, frames.lengths.tolist(), strict=True)
        ]


def collapsed(symbols: Int[Tensor, " frames"]) -> list[int]:
    """Join runs of one symbol, and drop blanks."""
    return [s for s in torch.unique_consecutive(symbols).tolist() if s != BLANK]
