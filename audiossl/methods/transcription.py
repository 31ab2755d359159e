"""Fine-tuning for transcription: one linear layer on the encoder, and CTC over characters.

Source: the fine-tuning of SPEAR's authors, of whose two heads (CTC and a pruned transducer) this is
the simpler one.

A cut takes part if CTC can spell its text: it has one, and frames for its characters and for the
blanks between equal ones. Others, a cut too short for any frame among them, count for nothing; the
figure `left_out` is their share.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from audiossl.batches import TextBatch
from audiossl.configs import Share
from audiossl.features.spec_augment import SpecAugmentConfig, spec_augment
from audiossl.methods.method import Losses, finetuning_context
from audiossl.models.encoder import FeatureEncoder
from audiossl.nn.dropout import dropout
from audiossl.nn.lengths import valid_mask

BLANK = 0
"""The symbol between symbols."""


@dataclass(frozen=True, kw_only=True)
class TranscriptionConfig:
    """What is trained on top of the encoder."""

    kind: Literal["transcription"] = "transcription"
    dropout: Share = 0.1
    """Dropout probability of the encoder's output."""
    augmentation: SpecAugmentConfig = field(default_factory=SpecAugmentConfig)
    """SpecAugment masks of the encoder's input."""


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
        self.classifier = nn.Linear(encoder.dim, num_symbols + 1)

    def forward(self, batch: TextBatch, step: int, generator: torch.Generator) -> Losses:
        """Compute the loss of a batch, in nats a character; of no weight if no cut takes part."""
        features, lengths = self.encoder.features(batch.waveforms, batch.lengths)
        features = spec_augment(features, lengths, self.config.augmentation, generator)
        context = finetuning_context(step, generator)
        frames = self.encoder.encode_features(features, lengths, context)
        scores = self.scores(dropout(frames.vectors, self.config.dropout, generator))
        fits = can_be_spelled(batch.symbols, batch.symbol_counts, frames.lengths)
        counts = batch.symbol_counts[fits]
        count = int(counts.sum())
        # All parameters take part, as parallel training wants it, if no cut does.
        loss = 0.0 * scores.sum()
        if count:
            with torch.autocast(scores.device.type, enabled=False):
                loss = F.ctc_loss(
                    scores[fits].transpose(0, 1), batch.symbols[fits], frames.lengths[fits], counts,
                    blank=BLANK, reduction="sum",
                )  # fmt: skip
        return Losses(
            loss / max(1, count), float(count), {"left_out": (~fits).float().mean()},
            {"left_out": torch.tensor(float(len(fits)))},
        )  # fmt: skip

    def scores(
        self, vectors: Float[Tensor, "batch frames dim"]
    ) -> Float[Tensor, "batch frames symbols"]:
        """Log-probabilities of symbols in each frame."""
        return self.classifier(vectors).float().log_softmax(dim=-1)

    @torch.no_grad()
    def transcribe(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> list[list[int]]:
        """Take the best symbol of each frame, join those that repeat, and drop blanks."""
        frames = self.encoder(waveforms, lengths)
        best = self.scores(frames.vectors).argmax(dim=-1)
        return [
            collapsed(row[:length])
            for row, length in zip(best, frames.lengths.tolist(), strict=True)
        ]


def can_be_spelled(
    symbols: Int[Tensor, "batch symbols"],
    counts: Int[Tensor, " batch"],
    frame_counts: Int[Tensor, " batch"],
) -> Bool[Tensor, " batch"]:
    """Whether a path of CTC spells each text: a frame a symbol, and a blank between equal ones."""
    valid = valid_mask(counts, symbols.shape[1])
    repeats = ((symbols[:, 1:] == symbols[:, :-1]) & valid[:, 1:]).sum(dim=1)
    return (counts > 0) & (counts + repeats <= frame_counts)


def collapsed(symbols: Int[Tensor, " frames"]) -> list[int]:
    """Join runs of one symbol, and drop blanks.

    Example:
        >>> collapsed(torch.tensor([0, 3, 3, 0, 3, 1]))  # 0 is the blank
        [3, 3, 1]
    """
    return [s for s in torch.unique_consecutive(symbols).tolist() if s != BLANK]
