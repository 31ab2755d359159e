"""Masked patches with self-distillation: a student of corrupted crops, a teacher of clean ones.

Two crops of each clip are drawn. The student sees them with groups of cells behind noise, zeros or
another clip, the teacher, a slow copy of it, as they are. The student fills in what is hidden, says
of each frame which prototype the teacher finds in the same frame of the same crop, and of each crop
which one it finds in the other crop.

Source: Atito et al., "ASiT: Local-Global Audio Spectrogram vIsion Transformer for Event
Classification" (arXiv 2211.13189). Ours: crops are cut from feature frames; clips have no class
token, so the clip vector takes its place; frames (patches of all bands) take that of patches; every
clip counts the same, whatever is hidden of it.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from audiossl import distributed
from audiossl.batches import DataFacts, WaveformBatch
from audiossl.configs import Count, Nonnegative, Share
from audiossl.errors import UserError
from audiossl.losses.self_distillation import (
    Center,
    PrototypeHead,
    PrototypesConfig,
    self_distillation,
    teacher_temperature,
    valid_rows,
)
from audiossl.methods.distortions import partners
from audiossl.methods.masked_patches import Corrupted, CorruptionConfig, MaskedPatches
from audiossl.methods.method import Losses, context_of
from audiossl.models.encoder import Context, FeatureEncoder
from audiossl.nn.frames import Frames
from audiossl.nn.lengths import valid_mask
from audiossl.nn.pooling import masked_mean
from audiossl.nn.slow_copy import SlowCopy, momentum_at


@dataclass(frozen=True, kw_only=True)
class AsitConfig(CorruptionConfig):
    """What is hidden, and what the slow teacher says of what."""

    kind: Literal["asit"] = "asit"
    crop: Share = 0.6
    """Length of the two crops, as a share of the longest clip of a batch."""
    clips: PrototypesConfig = PrototypesConfig()
    """Prototypes of crops: predicted from the other crop."""
    frames: PrototypesConfig = PrototypesConfig(size=1024)
    """Prototypes of frames: predicted from the corrupted crop."""
    momentum: Share = 0.996
    """Share of the teacher's weights that stays at each step."""
    momentum_steps: Count | None = None
    """Number of steps in which that share rises to 1 along a cosine: those of the run, in the
    paper. Null: it stays."""
    reconstruction: Nonnegative = 2.0
    """Weight of the error of what is filled in."""

    def __post_init__(self) -> None:
        """Check the crop.

        Raises:
            UserError: It has no length, or probabilities do not fit.
        """
        super().__post_init__()
        if not self.crop > 0:
            raise UserError(f"crop is {self.crop}: give a share above 0")


class Student(nn.Module):
    """An encoder and its heads of prototypes: what the teacher is a slow copy of."""

    def __init__(self, encoder: FeatureEncoder, config: AsitConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.clip_head = PrototypeHead(encoder.clip_dim, config.clips)
        self.frame_head = PrototypeHead(encoder.dim, config.frames)

    def forward(
        self,
        features: Float[Tensor, "batch frames bins"],
        lengths: Int[Tensor, " batch"],
        context: Context | None,
    ) -> tuple[Frames, Float[Tensor, "batch clip_size"], Float[Tensor, "batch times size"]]:
        """Encode features; return frames, and the cosines of clips and of frames."""
        frames = self.encoder.encode_features(features, lengths, context)
        return frames, self.clip_head(frames.clip), self.frame_head(frames.vectors)


class Asit(MaskedPatches):
    """An encoder, heads that fill in and that name prototypes, and a slow copy of it.

    Example:
        >>> from audiossl.models.patch_transformer import PatchTransformer, PatchTransformerConfig
        >>> encoder = PatchTransformer(PatchTransformerConfig(dim=16, heads=2, layers=1))
        >>> few = PrototypesConfig(size=8, hidden=8, bottleneck=4)
        >>> method = Asit(encoder, AsitConfig(clips=few, frames=few), DataFacts())
        >>> waves = WaveformBatch(torch.randn(2, 16000), torch.tensor([16000, 12000]))
        >>> sorted(method(waves, 0, torch.Generator().manual_seed(0)).metrics)
        ['clip_loss', 'error', 'error_of_the_mean', 'frame_loss']
    """

    kind = "asit"
    config: AsitConfig

    def __init__(self, encoder: FeatureEncoder, config: AsitConfig, data: DataFacts) -> None:
        super().__init__(encoder, config, data)
        student = Student(encoder, config)
        self.heads = nn.ModuleList([student.clip_head, student.frame_head])
        # A list hides the encoder from torch, which has it once already.
        self._student = [student]
        self.teacher = SlowCopy(student)
        self.clip_center, self.frame_center = Center(config.clips), Center(config.frames)
        self._step = 0

    def forward(self, batch: WaveformBatch, step: int, generator: torch.Generator) -> Losses:
        """Compute the three losses, a mean over clips."""
        self._step = step
        context = context_of(step, self.data, generator)
        features, lengths = self.crops(batch, generator)
        changed = self.corrupted(features, lengths, generator)
        frames, clip_scores, frame_scores = self._student[0](changed.features, lengths, context)
        _, clip_targets, frame_targets = self.teacher(features, lengths, None)
        there = frames.lengths > 0
        self.clip_center.note(clip_targets[there])
        self.frame_center.note(valid_rows(frame_targets, frames.lengths))
        # Rows are crop, crop, ... of each clip: its two change places.
        across = clip_targets.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)
        of_frames = self._distilled(
            self.config.frames, self.frame_center, frame_scores, frame_targets
        )
        terms = {
            "clip_loss": self._distilled(self.config.clips, self.clip_center, clip_scores, across),
            "frame_loss": masked_mean(of_frames[..., None], frames.lengths)[:, 0],
            **self._errors(frames, changed),
        }
        total = (
            terms["clip_loss"] + terms["frame_loss"] + self.config.reconstruction * terms["error"]
        )
        count = there.sum()
        means = {n: v.masked_fill(~there, 0.0).sum() / count.clamp(min=1) for n, v in terms.items()}
        total = total.masked_fill(~there, 0.0).sum() / count.clamp(min=1)
        return Losses(total, float(count), {name: mean.detach() for name, mean in means.items()})

    def after_update(self) -> None:
        """Let the teacher follow, and centers take in its scores."""
        momentum = momentum_at(self._step, self.config.momentum, self.config.momentum_steps)
        self.teacher.follow(self._student[0], momentum)
        self.clip_center.update()
        self.frame_center.update()

    def crops(
        self, batch: WaveformBatch, generator: torch.Generator
    ) -> tuple[Float[Tensor, "two_batches frames bins"], Int[Tensor, " two_batches"]]:
        """Draw two crops of the feature frames of each clip: crop, crop, crop, crop, ..."""
        features, lengths = self.encoder.features(batch.waveforms, batch.lengths)
        width = math.ceil(self.config.crop * features.shape[1])
        self.check_width(width)
        draws = distributed.draw_rows(
            len(features),
            lambda rows: torch.rand(rows, 2, generator=generator, device=features.device),
        )
        room = (lengths - width).clamp(min=0)[:, None]
        starts = torch.minimum((draws * (room + 1)).long(), room).flatten()
        places = starts[:, None] + torch.arange(width, device=features.device)
        rows = torch.arange(len(features), device=features.device).repeat_interleave(2)
        cropped = features[rows[:, None], places]
        return cropped, lengths[rows].clamp(max=width)

    def partners(
        self, count: int, device: torch.device
    ) -> tuple[Int[Tensor, " crops"], Bool[Tensor, " crops"]]:
        """Number the crop of another clip that gives each its aliens."""
        others, alone = partners(count // 2, device)
        crops = 2 * others[:, None] + torch.arange(2, device=device)
        return crops.flatten(), alone.repeat_interleave(2)

    def _distilled(
        self,
        config: PrototypesConfig,
        center: Center,
        student: Float[Tensor, "*batch size"],
        teacher: Float[Tensor, "*batch size"],
    ) -> Float[Tensor, "*batch"]:
        return self_distillation(
            student, teacher, center.mean,
            student_temperature=config.student_temperature,
            teacher_temperature=teacher_temperature(config, self._step),
        )  # fmt: skip

    def _errors(self, frames: Frames, changed: Corrupted) -> dict[str, Float[Tensor, " batch"]]:
        """Average what is filled in over the hidden cells of each crop."""
        predicted = self.filled_in(frames, changed.targets.shape[1])
        valid = valid_mask(frames.lengths * self.hop, predicted.shape[1])[..., None]
        hidden = changed.hidden & valid
        count = hidden.sum(dim=(1, 2)).clamp(min=1)
        errors = {
            "error": (predicted.float() - changed.targets).abs(),
            "error_of_the_mean": changed.targets.abs(),
        }
        return {n: e.masked_fill(~hidden, 0.0).sum(dim=(1, 2)) / count for n, e in errors.items()}
