"""Soft negatives: the student learns a slow teacher's similarities to a queue of earlier clips.

The teacher, an exponential moving average of encoder and head, encodes the anchors as they are; the
student encodes the positives, augmented where the data asks for it. The target is the teacher's
distribution over a queue of its own vectors (see `losses.soft_negatives`). Of clips: one vector
each. Of frames: those of the student, and of the teacher at the same times, against the teacher's
frames of other recordings.

Source: ACTION (You et al. 2023), after ISD (Tejankar et al. 2021). Unlike ACTION's code, the
teacher's head is averaged, too, and its vectors get no gradient; the form for frames is ours.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from audiossl.batches import DataFacts, ViewBatch
from audiossl.configs import Count, Positive, Share
from audiossl.errors import UserError
from audiossl.losses.soft_negatives import soft_negatives
from audiossl.methods.crops import at_times_of, check_overlap, crop_features, offsets_of
from audiossl.methods.method import Losses, context_of
from audiossl.models.encoder import Context, FeatureEncoder, check_has_frames
from audiossl.nn.frames import Frames
from audiossl.nn.queue import VectorQueue
from audiossl.nn.slow_copy import SlowCopy


@dataclass(frozen=True, kw_only=True)
class SoftNegativesConfig:
    """Heads, teacher and queue around an encoder."""

    kind: Literal["soft_negatives"] = "soft_negatives"
    level: Literal["clips", "frames"] = "clips"
    """Whether clips or frames are compared."""
    projection_dim: Count = 128
    """Dimension of the projections that are compared."""
    student_temperature: Positive = 0.1
    """Temperature that divides the student's cosines."""
    teacher_temperature: Positive = 0.04
    """Temperature that divides the teacher's cosines."""
    momentum: Share = 0.99
    """Weight of the teacher's weights in their moving average, of one step."""
    queue: Count = 4096
    """Number of the teacher's vectors of earlier batches that are compared with."""
    frames_per_clip: Count = 4
    """Number of frames of each clip that are queued, of frames."""


class SoftNegatives(nn.Module):
    """An encoder with a head and a predictor, the slow copy of encoder and head, and the queue.

    Example:
        >>> from audiossl.models.log_mel_statistics import LogMelStatistics
        >>> config = SoftNegativesConfig(projection_dim=8, queue=16)
        >>> method = SoftNegatives(LogMelStatistics(), config, DataFacts())
        >>> crops = torch.randn(3, 16000)
        >>> batch = ViewBatch(crops, crops, torch.ones(3, dtype=torch.bool), torch.arange(3))
        >>> method(batch, 0, torch.Generator()).weight  # nothing to compare with in the first step
        0.0
        >>> method.after_update()
        >>> method(batch, 1, torch.Generator()).weight
        3.0
    """

    def __init__(
        self, encoder: FeatureEncoder, config: SoftNegativesConfig, data: DataFacts
    ) -> None:
        """Put heads on an encoder.

        Raises:
            UserError: The queue is larger than the corpus; or frames are asked for and there are
                none, or none of the same time.
        """
        super().__init__()
        of_frames = config.level == "frames"
        if of_frames:
            check_has_frames(encoder, config.kind)
            check_overlap(data, config.kind)
        most = data.num_items * (config.frames_per_clip if of_frames else 1)
        if most and config.queue > most:
            raise UserError(
                f"queue of {config.queue} is larger than the corpus, which gives {most} vectors: "
                "give a smaller one"
            )
        self.encoder, self.config, self.data = encoder, config, data
        dim = encoder.dim if of_frames else encoder.clip_dim
        self.projection = nn.Linear(dim, config.projection_dim)
        self.predictor = nn.Linear(config.projection_dim, config.projection_dim)
        self.slow_encoder = SlowCopy(encoder, own_statistics=True)
        self.slow_projection = SlowCopy(self.projection)
        self.queue = VectorQueue(config.queue, config.projection_dim)

    def forward(self, batch: ViewBatch, step: int, generator: torch.Generator) -> Losses:
        """Compute the divergence of the student's similarities from the teacher's."""
        context = context_of(step, self.data, generator)
        noise, responses = (None if x is None else x[:, 1] for x in (batch.noise, batch.responses))
        features, lengths = crop_features(
            self.encoder, batch.positives, (noise, responses), self.data, context
        )
        student = self.encoder.encode_features(features, lengths, context)
        teacher = self._teacher(batch)
        if self.config.level == "clips":
            vectors, targets, recordings = student.clip, teacher.clip, batch.recordings
        else:
            vectors, targets, recordings = self._of_one_time(student, teacher, batch)
        students = F.normalize(self.predictor(self.projection(vectors)).float(), dim=1)
        losses = self._compare(students, self._projected(targets), recordings)
        if self.training:
            self._enqueue(teacher, batch)
        return losses

    def after_update(self) -> None:
        """Let the teacher follow, and the queue take in its vectors."""
        self.slow_encoder.follow(self.encoder, self.config.momentum)
        self.slow_projection.follow(self.projection, self.config.momentum)
        self.queue.advance()

    @torch.no_grad()
    def _teacher(self, batch: ViewBatch) -> Frames:
        """Encode the anchors as they are."""
        encoder: FeatureEncoder = self.slow_encoder.network  # type: ignore[assignment]
        features = crop_features(encoder, batch.anchors, (None, None), self.data, Context())
        return encoder.encode_features(*features)

    @torch.no_grad()
    def _projected(
        self, vectors: Float[Tensor, "items dim"]
    ) -> Float[Tensor, "items projection_dim"]:
        return F.normalize(self.slow_projection(vectors).float(), dim=1)

    def _of_one_time(
        self, student: Frames, teacher: Frames, batch: ViewBatch
    ) -> tuple[Float[Tensor, "items dim"], Float[Tensor, "items dim"], Int[Tensor, " items"]]:
        """Pair the student's frames with the teacher's of the same times, where both have some."""
        seconds = offsets_of(batch, self.encoder.sample_rate)
        targets, valid = at_times_of(teacher, student, seconds)
        recordings = batch.recordings[:, None].expand_as(valid)
        return student.vectors[valid], targets[valid], recordings[valid]

    def _compare(
        self,
        students: Float[Tensor, "items dim"],
        teachers: Float[Tensor, "items dim"],
        recordings: Int[Tensor, " items"],
    ) -> Losses:
        queue, config = self.queue.entries, self.config
        if not len(queue) or not len(students):
            nothing = students.new_full((), float("nan"))
            return Losses(0.0 * students.sum(), 0.0, {"agreement": nothing})
        excluded = None
        if config.level == "frames":
            excluded = recordings[:, None] == self.queue.recordings
        losses = soft_negatives(
            students, teachers, queue, excluded=excluded,
            student_temperature=config.student_temperature,
            teacher_temperature=config.teacher_temperature,
        )  # fmt: skip
        with torch.no_grad():
            nearest = ((v @ queue.T).argmax(dim=1) for v in (students, teachers))
            agreement = torch.eq(*nearest).float().mean()
        return Losses(losses.mean(), float(len(students)), {"agreement": agreement})

    @torch.no_grad()
    def _enqueue(self, teacher: Frames, batch: ViewBatch) -> None:
        """Let the teacher's vectors wait: of clips, or of frames in even places."""
        if self.config.level == "clips":
            self.queue.add(self._projected(teacher.clip), batch.recordings)
            return
        count = self.config.frames_per_clip
        shares = (torch.arange(count, device=teacher.lengths.device) + 0.5) / count
        places = (shares * teacher.lengths[:, None]).long()[..., None]
        frames = teacher.vectors.gather(1, places.expand(-1, -1, teacher.vectors.shape[2]))
        self.queue.add(
            self._projected(frames.flatten(0, 1)), batch.recordings.repeat_interleave(count)
        )
