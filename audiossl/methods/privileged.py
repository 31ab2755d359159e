"""A teacher that knows more: a student of mixtures finds what a frozen teacher says of their stems.

The teacher encodes each stem of a crop alone, and its vectors side by side are what the student,
which has the mixture, is to find among those of other crops, and they it: InfoNCE in both
directions between linear maps of the two (contrastive distillation). A teacher of the mixture, by
configuration, is the control.

Source: the objective is that of Tian, Krishnan, Isola, "Contrastive Representation Distillation"
(ICLR 2020); that the teacher is given more than the student is learning with privileged information
(Vapnik and Vashist 2009; Lopez-Paz et al. 2016). Ours: stems as the privilege; negatives are the
crops of a batch, those of the same recording left out.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from audiossl.batches import DataFacts, StemBatch
from audiossl.configs import Count, Positive
from audiossl.errors import UserError
from audiossl.losses.contrast import cross_entropy
from audiossl.losses.pairs import Pairs, one_way
from audiossl.methods.method import Losses, context_of
from audiossl.models.encoder import FeatureEncoder
from audiossl.nn.similarity import CosineSimilarity


@dataclass(frozen=True, kw_only=True)
class PrivilegedConfig:
    """What the teacher is given, and where its vectors and the student's are compared."""

    kind: Literal["privileged"] = "privileged"
    sees: Literal["stems", "mixture"] = "stems"
    """Input of the teacher: each stem alone, or, as a control, the mixture."""
    projection_dim: Count = 128
    """Dimension in which vectors are compared."""
    temperature: Positive = 0.1
    """Temperature that divides cosines."""


class Privileged(nn.Module):
    """A student, a frozen teacher of stems, and linear heads on both.

    Example:
        >>> from audiossl.models.log_mel_statistics import LogMelStatistics
        >>> from audiossl.models.patch_transformer import PatchTransformer, PatchTransformerConfig
        >>> student = PatchTransformer(PatchTransformerConfig(dim=16, heads=2, layers=1))
        >>> data = DataFacts(teachers={"teacher": LogMelStatistics()}, stems=("bass", "drums"))
        >>> method = Privileged(student, PrivilegedConfig(), data)
        >>> stems, ends = torch.randn(3, 2, 8000), torch.full((3,), 8000)
        >>> batch = StemBatch(stems.sum(dim=1), ends, stems, torch.arange(3))
        >>> sorted(method(batch, 0, torch.Generator()).metrics)
        ['accuracy']
    """

    def __init__(self, encoder: FeatureEncoder, config: PrivilegedConfig, data: DataFacts) -> None:
        """Put heads on a student and on what its teacher says.

        Raises:
            UserError: There is no teacher, or it needs another sample rate.
        """
        super().__init__()
        self.encoder, self.config, self.data = encoder, config, data
        if len(data.teachers) != 1:
            raise UserError("method privileged needs one teacher: name it with --teacher")
        (teacher,) = data.teachers.values()
        rate: Any = teacher.sample_rate
        if rate != encoder.sample_rate:
            raise UserError(
                f"teacher: is of {rate} Hz, and the student of {encoder.sample_rate} Hz: choose "
                "another one"
            )
        # A frozen network is no part of a checkpoint: a list hides it from torch.
        self._teacher = [teacher.requires_grad_(False).eval()]
        inputs = len(data.stems) if config.sees == "stems" else 1
        dim = inputs * _clip_dim(teacher)
        self.student_head = nn.Linear(encoder.clip_dim, config.projection_dim)
        self.teacher_head = nn.Sequential(
            nn.LayerNorm(dim, elementwise_affine=False), nn.Linear(dim, config.projection_dim)
        )

    def forward(self, batch: StemBatch, step: int, generator: torch.Generator) -> Losses:
        """Compute the loss of finding each mixture's stems, and the mixture of stems."""
        context = context_of(step, self.data, generator)
        features, lengths = self.encoder.features(batch.waveforms, batch.lengths)
        found = self.student_head(self.encoder.encode_features(features, lengths, context).clip)
        wanted = self.teacher_head(self.teacher_vectors(batch))
        directions = [
            Pairs(*sides, None, batch.recordings, CosineSimilarity(), self.config.temperature)
            for sides in ((found, wanted), (wanted, found))
        ]
        losses = [one_way(pairs, cross_entropy) for pairs in directions]
        accuracy = directions[0].accuracy
        return Losses((losses[0] + losses[1]) / 2, float(len(found)), {"accuracy": accuracy})

    @torch.no_grad()
    def teacher_vectors(self, batch: StemBatch) -> Float[Tensor, "batch dim"]:
        """Encode the stems of each crop, side by side; zeros for a silent one."""
        teacher = self._teacher[0].to(batch.waveforms.device)
        inputs = batch.stems if self.config.sees == "stems" else batch.waveforms[:, None]
        lengths = batch.lengths.repeat_interleave(inputs.shape[1])
        vectors = teacher(inputs.flatten(0, 1), lengths).clip.unflatten(0, inputs.shape[:2])
        silent = (inputs == 0).all(dim=2)
        return vectors.float().masked_fill(silent[..., None], 0.0).flatten(1)


def _clip_dim(teacher: nn.Module) -> int:
    """Find the dimension of a teacher's clip vectors: of a second of silence."""
    rate: Any = teacher.sample_rate
    with torch.no_grad():
        return int(teacher(torch.zeros(1, rate), torch.tensor([rate])).clip.shape[1])
