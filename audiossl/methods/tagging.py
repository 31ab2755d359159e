"""Fine-tuning for tagging: the mean over valid frames, one linear layer, a sigmoid for each tag.

Source: the fine-tuning of SPEAR's authors on AudioSet: mixup of waveforms with Beta(10, 10), tags
interpolated, SpecAugment. One difference: partners are neighbors in a shuffled batch.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from audiossl import distributed
from audiossl.batches import TagBatch
from audiossl.configs import Positive, Share
from audiossl.errors import UserError
from audiossl.features.spec_augment import SpecAugmentConfig, spec_augment
from audiossl.methods.method import Losses, finetuning_context
from audiossl.models.encoder import FeatureEncoder
from audiossl.nn.dropout import dropout


@dataclass(frozen=True, kw_only=True)
class TaggingConfig:
    """What is trained on top of the encoder, and how cuts are mixed."""

    kind: Literal["tagging"] = "tagging"
    dropout: Share = 0.1
    """Dropout probability of the clip vector."""
    mixup_probability: Share = 0.5
    """Probability of mixing a cut with its neighbor in the batch."""
    mixup_beta: Positive = 10.0
    """Parameter b of Beta(b, b), from which the shares of the mixture are drawn."""
    augmentation: SpecAugmentConfig = field(default_factory=SpecAugmentConfig)
    """SpecAugment masks of the encoder's input."""

    def __post_init__(self) -> None:
        """Check what values alone can tell.

        Raises:
            UserError: A value makes no sense.
        """
        if not 0 <= self.mixup_probability <= 1 or self.mixup_beta <= 0:
            raise UserError("mixup_probability must be 0 to 1, and mixup_beta above 0")


class Tagging(nn.Module):
    """An encoder and a classifier of clips.

    Example:
        >>> from audiossl.models.log_mel_statistics import LogMelStatistics
        >>> tagging = Tagging(LogMelStatistics(), TaggingConfig(), num_tags=5)
        >>> tagging.tag(torch.randn(2, 16000), torch.tensor([16000, 8000])).shape
        torch.Size([2, 5])
    """

    def __init__(self, encoder: FeatureEncoder, config: TaggingConfig, num_tags: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = config
        self.classifier = nn.Linear(encoder.clip_dim, num_tags)

    def forward(self, batch: TagBatch, step: int, generator: torch.Generator) -> Losses:
        """Compute the binary cross-entropy of all tags, in nats a cut and tag."""
        waveforms, lengths, tags = self.mixed(batch, generator)
        features, counts = self.encoder.features(waveforms, lengths)
        features = spec_augment(features, counts, self.config.augmentation, generator)
        context = finetuning_context(step, generator)
        clip = self.encoder.encode_features(features, counts, context).clip
        scores = self.classifier(dropout(clip, self.config.dropout, generator))
        loss = F.binary_cross_entropy_with_logits(scores.float(), tags)
        return Losses(loss, float(len(tags)))

    def mixed(
        self, batch: TagBatch, generator: torch.Generator
    ) -> tuple[Float[Tensor, "batch samples"], Int[Tensor, " batch"], Float[Tensor, "batch tags"]]:
        """Mix some cuts with their neighbors; their tags become shares."""
        config, rows = self.config, len(batch.waveforms)
        if config.mixup_probability == 0 or rows % 2:
            return batch.waveforms, batch.lengths, batch.tags
        draws = distributed.draw_rows(
            rows, lambda whole: _mixup_draws(whole, config.mixup_beta, generator)
        )
        own = torch.where(draws[:, 0] < config.mixup_probability, draws[:, 1], 1.0)[:, None]
        partners = torch.arange(rows, device=own.device) ^ 1
        waveforms = own * batch.waveforms + (1 - own) * batch.waveforms[partners]
        tags = own * batch.tags + (1 - own) * batch.tags[partners]
        longest = torch.maximum(batch.lengths, batch.lengths[partners])
        return waveforms, torch.where(own[:, 0] < 1, longest, batch.lengths), tags

    @torch.no_grad()
    def tag(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch tags"]:
        """Probability of each tag."""
        return self.classifier(self.encoder(waveforms, lengths).clip).float().sigmoid()


def _mixup_draws(rows: int, beta: float, generator: torch.Generator) -> Float[Tensor, "rows two"]:
    """Uniform numbers, and shares from Beta(beta, beta): a ratio of two Gamma draws."""
    device = generator.device
    uniform = torch.rand(rows, 1, device=device, generator=generator)
    shape = torch.full((rows, 2), beta, device=device)
    gamma = torch._standard_gamma(shape, generator=generator)
    return torch.cat([uniform, gamma[:, :1] / gamma.sum(dim=1, keepdim=True)], dim=1)
