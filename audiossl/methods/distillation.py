"""Several frozen teachers in one student: linear heads predict their features from its output.

The teachers of a crop's domain encode it as it is, the student encodes a distorted copy. One linear
head a teacher predicts its frames, at the times of the student's frames, from the student's output,
and another one its clip vector, if it has its own, from the student's clip vector. Heads are linear
because what is wanted is an output from which linear probes recover the teachers' features.

Teachers run beside the student, on fresh crops, so that a crop that is played slower or faster is a
new one for them, too; or their targets were stored and come with the batches. Features are raised
to a power, so that peaks do not dominate, and standardized by their own statistics. Each crop has
the targets of the teachers of its domain: GE2E says nothing of drums. A loss is a mean over the
targets of all ranks; of an accumulated batch, each part has means of its own.

Source: distillation of features with linear heads is that of DistilHuBERT (Chang et al. 2022), of
teachers of several domains that of USAD (Chang et al. 2025).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torchaudio.functional as audio
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from audiossl import distributed
from audiossl.batches import CropBatch, DataFacts, TeacherFacts
from audiossl.configs import Nonnegative, Positive, Share
from audiossl.errors import UserError, did_you_mean
from audiossl.losses.feature_matching import Distance, feature_matching
from audiossl.methods.distortions import (
    DistortionsConfig,
    at_ratio,
    distort_features,
    distort_waveforms,
    neighbors,
)
from audiossl.methods.method import Losses, context_of
from audiossl.models.encoder import Context, FeatureEncoder, check_has_frames
from audiossl.nn.batch_norm import FrameNorm
from audiossl.nn.frames import Frames
from audiossl.nn.lengths import valid_mask

MOST_APART = 10.0
"""Decibels between two crops that are mixed."""


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """One teacher, and which cuts have its features as targets."""

    source: str
    """Source as `load_encoder` takes it: "ge2e:", "aisfx:/weights/checkpoint.pth"."""
    domains: tuple[str, ...] = ()
    """Domains of cuts that have its features as targets; all of them by default."""
    weight: Nonnegative = 1.0
    """Weight of the loss of its frames."""
    clip_weight: Nonnegative = 1.0
    """Weight of the loss of its clip vectors, where it has its own."""
    shortest: Nonnegative = 0.0
    """Minimum duration in seconds of a crop that has its features as targets."""
    power: Positive = 1.0
    """Exponent of its features, signs kept: 0.5 for those that are mostly zero."""


@dataclass(frozen=True, kw_only=True)
class DistillationConfig:
    """Teachers, the distance between their features and the student's predictions, distortions."""

    kind: Literal["distillation"] = "distillation"
    teachers: dict[str, TeacherConfig] = field(default_factory=dict)
    """Teachers by name."""
    distance: Distance = "square"
    """Distance of predicted and standardized features."""
    angle_weight: Nonnegative = 1.0
    """Weight of one minus their cosine."""
    speeds: tuple[Positive, ...] = (1.0,)
    """Factors of speed, and so of pitch, of which each batch has one: for teachers, too."""
    mixtures: dict[str, Share] = field(default_factory=dict)
    """Probability, by domain, that a crop is mixed with another one of its batch, up to 10 dB
    louder or softer: new sounds for teachers and student."""
    distortions: DistortionsConfig = DistortionsConfig()
    """Distortions of the student's input alone."""


@dataclass(frozen=True)
class _Crops:
    """The crops that have targets of one teacher."""

    rows: Int[Tensor, " some"]
    frames: Frames
    """Frames of the teacher, of the crops or of the excerpts that they are part of."""
    offsets: Float[Tensor, " some"]
    """Seconds from the first sample that the teacher encoded to that of the crop."""


@dataclass(frozen=True)
class _Term:
    """The loss of predicting a teacher's frames, or its clip vectors."""

    kind: Literal["frame", "clip"]
    weight: float
    loss: Float[Tensor, ""]
    """Mean over the items of this rank."""
    cosine: Float[Tensor, ""]
    count: Float[Tensor, ""]
    """Number of those items."""


class Distillation(nn.Module):
    """A student, and linear heads for each teacher."""

    def __init__(
        self, encoder: FeatureEncoder, config: DistillationConfig, data: DataFacts
    ) -> None:
        """Put heads on an encoder.

        Args:
            encoder: The student; its clip vector is what clip heads read.
            config: Which features are targets of which crops, and the distance to them.
            data: The teachers, or the facts of stored targets, by the names of `config.teachers`;
                and the domains of crops.

        Raises:
            UserError: There are no teachers, one is of an unknown domain, the encoder has no
                frames, or crops that have stored targets would be changed for teachers, too.
        """
        super().__init__()
        check_has_frames(encoder, config.kind)
        teachers, domains = data.teachers, data.domains
        facts = {**{name: teacher_facts(t) for name, t in teachers.items()}, **data.stored}
        if not facts:
            raise UserError("teachers: there is none: name at least one")
        if data.stored and (set(config.speeds) != {1.0} or any(config.mixtures.values())):
            raise UserError(
                "stored targets are of crops as they are: set speeds to [1.0] and mixtures to {}, "
                "or run the teachers beside the student (no targets)"
            )
        self.encoder, self.config, self.data, self.facts = encoder, config, data, facts
        # Frozen networks are no part of a checkpoint: a dict hides them from torch.
        self.teachers: dict[str, Any] = dict(teachers)
        self.numbers = {
            name: _numbers(name, config.teachers[name].domains, domains) for name in facts
        }
        unknown = [name for name in config.mixtures if name not in domains]
        if unknown:
            raise UserError(
                f"mixtures: no cut is of domain {unknown[0]!r}{did_you_mean(unknown[0], domains)}"
            )
        self.mixture_probabilities = torch.tensor([config.mixtures.get(d, 0.0) for d in domains])
        sizes = encoder.dim, encoder.clip_dim
        self.heads = nn.ModuleDict(
            {name: TeacherHeads(sizes, fact) for name, fact in facts.items()}
        )

    def forward(self, batch: CropBatch, step: int, generator: torch.Generator) -> Losses:
        """Compute the loss of predicting the teachers' features of a batch."""
        waveforms, lengths = self._played(batch, step)
        waveforms = self._mixed(waveforms, lengths, batch.domains, generator)
        with torch.no_grad():
            crops = {
                name: self._targets(name, waveforms, lengths, batch.domains)
                if name in self.teachers
                else self._stored(name, batch)
                for name in self.facts
            }
        frames = self._student(waveforms, lengths, context_of(step, self.data, generator))
        terms = [
            (name, term)
            for name, targets in crops.items()
            for term in self.heads[name](frames, targets, self.config, self.config.teachers[name])
        ]
        losses = torch.stack([term.weight * term.loss for _, term in terms])
        total = (losses * _shares([term.count for _, term in terms])).sum()
        cosines = {f"{name}/{term.kind}_cosine": term.cosine for name, term in terms}
        counts = {f"{name}/{term.kind}_cosine": term.count for name, term in terms}
        return Losses(total, float(len(waveforms)), cosines, counts)

    def _played(
        self, batch: CropBatch, step: int
    ) -> tuple[Float[Tensor, "batch samples"], Int[Tensor, " batch"]]:
        """Play the crops at the speed of this step."""
        speeds = self.config.speeds
        speed = speeds[step % len(speeds)]
        if speed == 1.0:
            return batch.waveforms, batch.lengths
        # Heard as if it had been recorded at this rate: whole percents have small ratios.
        rate = round(100 * speed)
        waveforms = audio.resample(batch.waveforms, rate, 100)
        return waveforms, (batch.lengths * 100 // rate).clamp(max=waveforms.shape[1])

    def _mixed(
        self,
        waveforms: Float[Tensor, "batch samples"],
        lengths: Int[Tensor, " batch"],
        domains: Int[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Float[Tensor, "batch samples"]:
        """Mix some crops with their neighbor in the batch."""
        draws = distributed.draw_rows(
            len(waveforms),
            lambda rows: torch.rand(rows, 2, device=waveforms.device, generator=generator),
        )
        chosen = draws[:, 0] < self.mixture_probabilities.to(waveforms.device)[domains]
        ratios = MOST_APART * (2 * draws[:, 1] - 1)
        others = at_ratio(waveforms, neighbors(waveforms), ratios)
        others = others.masked_fill(~valid_mask(lengths, waveforms.shape[1]), 0.0)
        return waveforms + others * chosen[:, None]

    def _targets(
        self,
        name: str,
        waveforms: Float[Tensor, "batch samples"],
        lengths: Int[Tensor, " batch"],
        domains: Int[Tensor, " batch"],
    ) -> _Crops:
        """Run a teacher on the crops of its domains."""
        teacher = self.teachers[name].to(waveforms.device)
        rows = torch.nonzero(self._has_targets(name, lengths, domains))[:, 0]
        offsets = torch.zeros(len(rows), device=rows.device)
        if not len(rows):
            nothing = waveforms.new_zeros(0, 1, teacher.dim)
            return _Crops(rows, Frames(nothing, rows, teacher.frame_rate), offsets)
        own, rate = self.encoder.sample_rate, teacher.sample_rate
        chosen, length = waveforms[rows], lengths[rows]
        if rate != own:
            chosen, length = audio.resample(chosen, own, rate), length * rate // own
        return _Crops(rows, teacher(chosen, length.clamp(max=chosen.shape[1])), offsets)

    def _stored(self, name: str, batch: CropBatch) -> _Crops:
        """Take the targets of a teacher that come with a batch."""
        facts, counts = self.facts[name], batch.frame_counts[name]
        chosen = self._has_targets(name, batch.lengths, batch.domains) & (counts > 0)
        rows = torch.nonzero(chosen)[:, 0]
        assert batch.offsets is not None
        clips = batch.clips[name][rows] if name in batch.clips else None
        frames = Frames(
            batch.frames[name][rows], counts[rows], facts.frame_rate,
            pooled=clips, first_time=facts.first_time,
        )  # fmt: skip
        return _Crops(rows, frames, batch.offsets[rows])

    def _has_targets(
        self, name: str, lengths: Int[Tensor, " batch"], domains: Int[Tensor, " batch"]
    ) -> Bool[Tensor, " batch"]:
        of_domain = torch.isin(domains, torch.tensor(self.numbers[name], device=domains.device))
        least = self.config.teachers[name].shortest * self.encoder.sample_rate
        return of_domain & (lengths >= least)

    def _student(
        self,
        waveforms: Float[Tensor, "batch samples"],
        lengths: Int[Tensor, " batch"],
        context: Context,
    ) -> Frames:
        distortions, generator = self.config.distortions, context.generator
        assert generator is not None
        distorted = distort_waveforms(waveforms, lengths, distortions, generator)
        features, counts = self.encoder.features(distorted, lengths)
        features = distort_features(features, counts, distortions, generator)
        return self.encoder.encode_features(features, counts, context)


class TeacherHeads(nn.Module):
    """Predict a teacher's frames, and its clip vector, from a student's output."""

    def __init__(self, sizes: tuple[int, int], facts: TeacherFacts) -> None:
        """Make untrained heads.

        Args:
            sizes: Dimensions of the student's frames and clip vector.
            facts: Of the vectors that are predicted.
        """
        super().__init__()
        dim, clip_dim = facts.dim, facts.clip_dim
        self.frames, self.frame_norm = nn.Linear(sizes[0], dim), FrameNorm(dim)
        if clip_dim:
            self.clip, self.clip_norm = nn.Linear(sizes[1], clip_dim), FrameNorm(clip_dim)

    def forward(
        self, student: Frames, targets: _Crops, config: DistillationConfig, teacher: TeacherConfig
    ) -> list[_Term]:
        """Compute the losses of the crops that have targets: of frames, and of clips if it can."""
        given, rows = targets.frames, targets.rows
        valid = valid_mask(student.lengths[rows], student.vectors.shape[1])
        valid = valid & (given.lengths > 0)[:, None]
        vectors = vectors_at(given, student.times + targets.offsets[:, None])
        vectors = self.frame_norm(_signed_power(vectors, teacher.power), valid)
        predictions = self.frames(student.vectors[rows])
        loss, cosine = _matched(config, predictions, vectors, valid)
        frames = _Term("frame", teacher.weight, loss, cosine, valid.sum().float())
        if not hasattr(self, "clip"):
            return [frames]
        pooled = given.pooled
        if pooled is None:  # no crop was long enough
            pooled = student.clip.new_zeros(0, self.clip.out_features)
        valid = (given.lengths > 0)[:, None]
        vectors = self.clip_norm(_signed_power(pooled.float(), teacher.power)[:, None], valid)
        predictions = self.clip(student.clip[rows])[:, None]
        loss, cosine = _matched(config, predictions, vectors, valid)
        return [frames, _Term("clip", teacher.clip_weight, loss, cosine, valid.sum().float())]


def _matched(
    config: DistillationConfig, predictions: Tensor, vectors: Tensor, valid: Tensor
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    return feature_matching(
        predictions, vectors, valid, distance=config.distance, angle_weight=config.angle_weight
    )


def _shares(counts: Sequence[Float[Tensor, ""]]) -> Float[Tensor, " terms"]:
    """Compute the factors by which means over the items of a rank add up to those of all ranks."""
    here = torch.stack(list(counts))
    return here * distributed.world_size() / distributed.total(here).clamp(min=1.0)


def vectors_at(
    frames: Frames, times: Float[Tensor, "#batch times"]
) -> Float[Tensor, "batch times dim"]:
    """Interpolate frames linearly at other times; before the first and after the last, as they are.

    Args:
        frames: Of a teacher; a row without frames gives what stands in its padding.
        times: Seconds, of each row or of all.

    Example:
        >>> frames = Frames(torch.tensor([[[0.0], [1.0]]]), torch.tensor([2]), frame_rate=50.0)
        >>> vectors_at(frames, torch.tensor([[0.02, 0.03]]))  # frames are centered on 10 and 30 ms
        tensor([[[0.5000],
                 [1.0000]]])
    """
    first = frames.times[0] if frames.vectors.shape[1] else 0.0
    places = (times - first) * frames.frame_rate
    last = (frames.lengths - 1).clamp(min=0)[:, None].to(places)
    places = torch.minimum(places.clamp(min=0.0), last)
    below = places.long()
    above = torch.minimum(below + 1, last.long())
    part = (places - below)[..., None].float()
    values = frames.vectors.float()
    lower, upper = (_rows_at(values, index) for index in (below, above))
    return torch.lerp(lower, upper, part)


def _rows_at(
    values: Float[Tensor, "batch frames dim"], index: Int[Tensor, "batch times"]
) -> Float[Tensor, "batch times dim"]:
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[2]))


def _signed_power(values: Float[Tensor, "*batch dim"], power: float) -> Float[Tensor, "*batch dim"]:
    return values if power == 1.0 else values.sign() * values.abs().pow(power)


def _numbers(name: str, chosen: Sequence[str], domains: Sequence[str]) -> list[int]:
    for domain in chosen:
        if domain not in domains:
            raise UserError(
                f"teachers.{name}: no cut is of domain {domain!r}{did_you_mean(domain, domains)} "
                f"(there are {', '.join(domains)})"
            )
    return [number for number, domain in enumerate(domains) if not chosen or domain in chosen]


def teacher_facts(teacher: Any) -> TeacherFacts:
    """Describe what a teacher gives: try it on two seconds of silence."""
    frames = _of_silence(teacher)
    clip_dim = 0 if frames.pooled is None else frames.pooled.shape[1]
    first_time = float(frames.times[0])
    return TeacherFacts(
        dim=teacher.dim, clip_dim=clip_dim, frame_rate=teacher.frame_rate, first_time=first_time
    )


def _of_silence(network: Any) -> Frames:
    training = network.training
    samples = 2 * network.sample_rate
    with torch.no_grad():
        frames: Frames = network.eval()(torch.zeros(1, samples), torch.tensor([samples]))
    network.train(training)
    return frames
