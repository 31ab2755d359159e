"""Supervised training of a head on an encoder: the encoder is frozen, trained, or changed a little.

A probe of frames and fine-tuning are one and the same but for what is trained. The head reads the
encoder's output, its clip vector, or, as SUPERB does, a sum of all layers with learned weights.
SpecAugment masks the input of what is trained: the encoder's features, or a frozen encoder's
frames.

Where labels are few, two more terms help: class centers, and consistency of overlapping crops.

Sources: SUPERB (Yang et al., 2021); the fine-tuning of SPEAR's authors: mixup of waveforms with
Beta(10, 10), tags interpolated, SpecAugment, CTC over one linear layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from audiossl.batches import LabelBatch, LayerBatch
from audiossl.configs import Count, Positive, Share
from audiossl.errors import UserError
from audiossl.features.spec_augment import SpecAugmentConfig, spec_augment
from audiossl.losses.labels import OF_CLIPS, Loss, Outputs, Scored, label_loss, probabilities
from audiossl.methods.class_centers import CentersConfig, ClassCenters
from audiossl.methods.frozen_frames import frozen_frames
from audiossl.methods.method import Losses, finetuning_context
from audiossl.methods.mixup import mixed
from audiossl.methods.overlapping_crops import (
    ConsistencyConfig,
    overlapping_crops,
    with_consistency,
)
from audiossl.models.encoder import FeatureEncoder
from audiossl.nn.dropout import dropout
from audiossl.nn.frames import Frames
from audiossl.nn.low_rank import add_low_rank
from audiossl.nn.pooling import masked_mean
from audiossl.nn.sequence_heads import HeadConfig, LayerSum, SequenceHead

Input = Literal["layers", "output", "clip"]


@dataclass(frozen=True, kw_only=True)
class FrozenConfig:
    """The encoder stays as it is."""

    kind: Literal["frozen"] = "frozen"


@dataclass(frozen=True, kw_only=True)
class WholeConfig:
    """All weights of the encoder are trained."""

    kind: Literal["whole"] = "whole"


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Changes of low rank of the encoder's linear layers are trained (LoRA)."""

    kind: Literal["lora"] = "lora"
    rank: Count = 8
    """Rank of the changes."""
    alpha: Positive = 16.0
    """Scale of the changes, times the rank."""
    layers: tuple[str, ...] = ()
    """Names, or last parts of names, of the linear layers that change ([q_proj, v_proj]); all if
    empty."""


Adaptation: TypeAlias = FrozenConfig | WholeConfig | LoraConfig


@dataclass(frozen=True, kw_only=True)
class SupervisedConfig:
    """Head on an encoder, and how both are trained."""

    input: Input = "layers"
    """Input of the head: "layers", a sum of all layers with learned weights; "output", the
    encoder's frames; "clip", its clip vector, for classes and tags of clips."""
    head: HeadConfig = HeadConfig()
    """Layers between that and the scores."""
    dropout: Share = 0.0
    """Dropout probability of the head's input."""
    augmentation: SpecAugmentConfig = field(
        default_factory=lambda: SpecAugmentConfig(probability=0.0)
    )
    """SpecAugment masks of the encoder's features, or of a frozen encoder's frames."""
    mixup_probability: Share = 0.0
    """Probability of mixing a cut with its neighbor in the batch, for tags."""
    mixup_beta: Positive = 10.0
    """Parameter b of Beta(b, b), from which the shares of the mixture are drawn."""
    centers: CentersConfig | None = None
    """Class centers beside the loss of the head, for few labels of classes; null: none."""
    consistency: ConsistencyConfig | None = None
    """Training on two overlapping crops of each cut that teach each other, for few labels of frames
    or events; null: on the whole cut."""


@dataclass(frozen=True)
class InputFacts:
    """Shape of what a head can read."""

    num_layers: int
    """0 if layers cannot be summed: there are none, or they are of unlike dimensions."""
    layer_dim: int
    dim: int
    clip_dim: int
    frame_rate: float = 0.0
    """Frames a second; 0 where there are none."""
    layer_rate: float = 0.0
    """Frames a second of each layer."""


class Supervised(nn.Module):
    """An encoder, or frames of one, and a head.

    Example:
        >>> from audiossl.models.log_mel_statistics import LogMelStatistics
        >>> from audiossl.nn.sequence_heads import HeadConfig
        >>> config = SupervisedConfig(input="clip", head=HeadConfig(projection=0))
        >>> encoder = LogMelStatistics()
        >>> probe = Supervised(
        ...     encoder, config, Outputs("tags", (5,)), facts_of(encoder), FrozenConfig()
        ... )
        >>> batch = LabelBatch(
        ...     torch.randn(2, 16000), torch.tensor([16000, 8000]), torch.zeros(2, 5),
        ...     torch.tensor([5, 5]),
        ... )
        >>> rows, times = probe.predict(batch)
        >>> [tuple(row.shape) for row in rows]
        [(5,), (5,)]
    """

    def __init__(
        self,
        encoder: nn.Module | None,
        config: SupervisedConfig,
        outputs: Outputs,
        facts: InputFacts,
        adaptation: Adaptation,
    ) -> None:
        """Put a head on an encoder.

        Args:
            encoder: What is fine-tuned, or stays frozen; None where batches have its frames.
            config: How.
            outputs: What is scored.
            facts: Shape of the encoder's frames.
            adaptation: What of the encoder is trained.

        Raises:
            UserError: The encoder has no such input for the head, or cannot be trained, or the
                targets are not those of centers or of consistency.
        """
        super().__init__()
        _check(config, outputs, facts)
        self.config, self.outputs = config, outputs
        # A frozen encoder is no part of checkpoints.
        self._frozen: tuple[nn.Module, ...] = ()
        if encoder is not None:
            self._place(encoder, adaptation)
        self.layer_sum = LayerSum(facts.num_layers) if config.input == "layers" else None
        dims = {"layers": facts.layer_dim, "output": facts.dim, "clip": facts.clip_dim}
        self.head = SequenceHead(dims[config.input], config.head, sum(outputs.sizes))
        self.crop_rate = facts.layer_rate if config.input == "layers" else facts.frame_rate
        self.centers: ClassCenters | None = None
        if config.centers:
            self.centers = ClassCenters(self.head.output.in_features, outputs, config.centers)

    def _place(self, encoder: nn.Module, adaptation: Adaptation) -> None:
        if isinstance(adaptation, FrozenConfig):
            self._frozen = (encoder.requires_grad_(False).eval(),)
            return
        if not isinstance(encoder, FeatureEncoder):
            raise UserError(f"adaptation: {type(encoder).__name__} cannot be trained: freeze it")
        self.encoder = encoder.requires_grad_(True)
        if isinstance(adaptation, LoraConfig):
            add_low_rank(
                encoder, rank=adaptation.rank, alpha=adaptation.alpha, layers=adaptation.layers
            )
            encoder.freeze_unread()

    def forward(
        self, batch: LabelBatch | LayerBatch, step: int, generator: torch.Generator
    ) -> Losses:
        """Compute the loss of a batch, in nats a clip, tag, symbol or frame."""
        config, starts = self.config, None
        if isinstance(batch, LabelBatch) and self.outputs.objective == "tags":
            batch = mixed(batch, config.mixup_probability, config.mixup_beta, generator)
        if isinstance(batch, LabelBatch) and config.consistency:
            batch, starts = overlapping_crops(
                batch, config.consistency.crop, self.crop_rate, generator
            )
        frames = self._frames(batch, step, generator)
        hidden = self._hidden(frames, generator)
        scored = replace(hidden, scores=self.head.output(hidden.scores))
        loss = label_loss(self.outputs, scored, batch.targets, batch.counts)
        if config.consistency and starts is not None:
            loss = with_consistency(loss, self.outputs, scored, starts, config.consistency)
        if self.centers is not None:
            loss = _sum(loss, self.centers(hidden.scores, batch.targets[:, 0]))
        # All parameters take part, as parallel training wants it, those behind all layers, too.
        unread = masked_mean(frames.vectors, frames.lengths).sum()
        rows = torch.tensor(float(len(batch.targets)))
        weights = dict.fromkeys(loss.metrics, rows)
        return Losses(loss.total + 0.0 * unread, loss.weight, loss.metrics, weights)

    def after_update(self) -> None:
        """Bring the centers up to date."""
        if self.centers is not None:
            self.centers.after_update()

    @torch.no_grad()
    def predict(
        self, batch: LabelBatch | LayerBatch
    ) -> tuple[Sequence[Tensor], Float[Tensor, " frames"]]:
        """Compute what `losses.labels.probabilities` says of each row, and the times of frames."""
        hidden = self._hidden(self._frames(batch))
        scored = replace(hidden, scores=self.head.output(hidden.scores))
        return probabilities(self.outputs, scored), hidden.times

    def _hidden(self, frames: Frames, generator: torch.Generator | None = None) -> Scored:
        """Compute what the last layer of the head scores."""
        match self.config.input:
            case "layers":
                assert self.layer_sum is not None
                layers = frames.layers or (frames.vectors,)
                vectors = self.layer_sum(torch.stack(layers, dim=1).float())
                lengths, times = frames.lengths_of_layers, frames.times_of_layers
            case "output":
                vectors, lengths, times = frames.vectors, frames.lengths, frames.times
            case "clip":
                vectors = frames.clip[:, None]
                times = torch.zeros(1, device=vectors.device)
                lengths = torch.ones_like(frames.lengths)
        if generator is not None:
            if not hasattr(self, "encoder") and self.config.augmentation.probability:
                vectors = spec_augment(vectors, lengths, self.config.augmentation, generator)
            vectors = dropout(vectors, self.config.dropout, generator)
        pool = self.outputs.objective in OF_CLIPS
        return Scored(self.head.hidden(vectors, lengths, generator, pool=pool), lengths, times)

    def _frames(
        self,
        batch: LabelBatch | LayerBatch,
        step: int = 0,
        generator: torch.Generator | None = None,
    ) -> Frames:
        """Encode waveforms; without a generator as in evaluation."""
        if isinstance(batch, LayerBatch):
            return frozen_frames(batch)
        if self._frozen:
            return frozen_frames(batch, self._frozen[0].to(batch.waveforms.device))
        if generator is None:
            return self.encoder(batch.waveforms, batch.lengths)
        features, counts = self.encoder.features(batch.waveforms, batch.lengths)
        if self.config.augmentation.probability:
            features = spec_augment(features, counts, self.config.augmentation, generator)
        context = finetuning_context(step, generator)
        return self.encoder.encode_features(features, counts, context)


def facts_of(encoder: nn.Module) -> InputFacts:
    """Find the shape of an encoder's frames: that of a second of silence."""
    network: Any = encoder
    training = encoder.training
    with torch.no_grad():
        second = torch.zeros(1, network.sample_rate)
        parameter = next(encoder.parameters(), second)
        length = torch.tensor([network.sample_rate], device=parameter.device)
        frames: Frames = encoder.eval()(second.to(parameter.device), length)
    encoder.train(training)
    dims = [layer.shape[2] for layer in frames.layers or (frames.vectors,)]
    num_layers = len(dims) if len(set(dims)) == 1 else 0
    rates = frames.frame_rate, frames.layer_rate or frames.frame_rate
    return InputFacts(num_layers, dims[0], frames.vectors.shape[2], frames.clip.shape[1], *rates)


def _check(config: SupervisedConfig, outputs: Outputs, facts: InputFacts) -> None:
    if config.input == "clip" and outputs.objective not in OF_CLIPS:
        raise UserError(
            f"method.input: clip: one vector a clip cannot say what is {outputs.objective}: choose "
            "layers or output"
        )
    if config.input == "layers" and not facts.num_layers:
        raise UserError(
            "method.input: layers: the encoder's layers are of unlike dimensions and have no sum: "
            "choose output"
        )
    if config.consistency and outputs.objective not in ("frames", "events"):
        raise UserError(
            f"method.consistency: crops agree on their frames, and the target is "
            f"{outputs.objective}: set target to frames or events, or leave consistency out"
        )
    if config.consistency and not facts.frame_rate:
        raise UserError(
            "method.consistency: the encoder has no frames for crops to agree on: choose another, "
            "or leave consistency out"
        )


def _sum(loss: Loss, other: Loss) -> Loss:
    """Add the losses of the same items."""
    return replace(loss, total=loss.total + other.total, metrics={**loss.metrics, **other.metrics})
