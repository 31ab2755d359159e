"""What stages that pretrain have in common: settings, the loop, and what they leave behind."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import nn

from audiossl import distributed
from audiossl.atomic_files import write_json
from audiossl.audio.presentation import Presentation
from audiossl.batches import DataFacts
from audiossl.configs import plain
from audiossl.data.layout import MIXTURE
from audiossl.data.loading import BatchSource
from audiossl.data.views import Views
from audiossl.errors import UserError
from audiossl.methods.model_contrast import ForgettingConfig, with_term
from audiossl.models.description import FILE, described
from audiossl.models.encoder import presentation_of
from audiossl.nn.low_rank import merge_low_rank
from audiossl.nn.weights import load_exactly
from audiossl.pretrained.load import load_encoder
from audiossl.pretrained.own import CONFIG, write_encoder
from audiossl.pretrained.sources import paths_of
from audiossl.pretrained.trainable import trainable
from audiossl.training.loop import LoopConfig, LoopResources, Place, train
from audiossl.training.writers import read_metrics
from recipes.stage import Resources, Stage


@dataclass(frozen=True, kw_only=True)
class TrainingResources(Resources, LoopResources):
    """What training works with: none of it changes the result."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Settings that every stage that trains an encoder has."""

    output: Path
    """Folder of checkpoints, records and, at the end, the encoder."""
    loop: LoopConfig
    """Training loop: steps, optimizer, precision and records."""
    resources: TrainingResources = TrainingResources()
    """Device and worker processes."""


@dataclass(frozen=True, kw_only=True)
class InitialWeights:
    """Where a pretraining stage takes the encoder's first weights from."""

    initial_weights: str | None = None
    """Encoder whose weights training begins with, as `load_encoder` takes it: audiossl:small, a
    folder of an earlier run, ...; of the same architecture as `encoder`. Null: random weights."""
    presentation: Literal["of_crops", "initial"] = "of_crops"
    """Presentation of clips to the encoder that is written: windows like the crops of training, or
    that of `initial_weights`, which a short continuation does not unlearn."""

    forgetting: ForgettingConfig | None = None
    """Term that holds the encoder to its initial weights while it is trained on other audio; null:
    none."""

    def extra_inputs(self) -> dict[str, Path]:
        """Files and folders that `initial_weights` names."""
        paths = paths_of(self.initial_weights) if self.initial_weights else []
        return {f"initial_weights.{index}": path for index, path in enumerate(paths)}


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(InitialWeights, TrainingConfig):
    """Settings of a pretraining stage on one corpus without targets."""

    cuts: Path
    """Output of a `prepare` stage."""
    where: dict[str, list[str]] = field(default_factory=dict)
    """Labels and their values of the cuts that take part, as in {split: [train]}; all cuts if
    empty."""


def report_identical(views: Views, method: Any, stage: Stage) -> int:
    """Count the segments of which anchor and positive are the same, and warn where nothing helps.

    Args:
        views: The pairs.
        method: Config of the method, whose noise tells the two apart.
        stage: Where it is logged.
    """
    count = int(views.identical.sum()) if MIXTURE in views.config.sources else 0
    if count and not (getattr(method, "noise", 0.0) or views.config.augmentations):
        stage.log.warning(
            "%d of %d segments (%.0f %%) are no longer than a crop of %d samples: anchor and "
            "positive are the same and teach nothing: set views.short_cuts to shorten or "
            "leave_out, or add noise or augmentations",
            count, len(views.cuts), 100 * count / len(views.cuts), views.config.crop_samples,
        )  # fmt: skip
    return count


def take_weights(encoder: nn.Module, source: str) -> nn.Module:
    """Copy the weights of another encoder.

    Args:
        encoder: What receives them.
        source: What `load_encoder` takes.

    Returns:
        The other encoder.

    Raises:
        UserError: It is of another architecture; names the tensors that differ.
    """
    other = load_encoder(source)
    try:
        load_exactly(encoder, trainable(other, source).state_dict(), source)
    except UserError as error:
        raise UserError(
            f"initial_weights: {error}: let `encoder` be of its architecture (the encoder of "
            "audiossl:small is recipes/distillation/conf/small.yaml)"
        ) from error
    return other


def begin(encoder: Any, config: InitialWeights, crops: Presentation | None) -> None:
    """Give an encoder its first weights, and the presentation that it is written with.

    Args:
        encoder: What is trained.
        config: Where the weights come from.
        crops: Presentation of windows like the crops of training; None: clips are whole.

    Raises:
        UserError: The presentation of no weights is asked for, or they do not fit.
    """
    encoder.presentation = crops
    if config.initial_weights:
        other = take_weights(encoder, config.initial_weights)
        if config.presentation == "initial":
            encoder.presentation = presentation_of(other)
    elif config.presentation == "initial":
        raise UserError("presentation: initial is that of initial_weights: name some")


def pretrain(
    method: nn.Module, source: BatchSource, config: TrainingConfig, stage: Stage
) -> dict[str, Any]:
    """Train a `Method` and write its encoder; return the last figures for the record."""
    encoder: Any = method.encoder
    # What embeds clips later presents them as training does.
    crops = getattr(source, "presentation", None)
    if isinstance(config, InitialWeights):
        begin(encoder, config, crops)
    else:
        encoder.presentation = crops
    if initial := getattr(config, "initial_weights", None):
        stage.log.info("initial weights: %s", initial)
    if forgetting := getattr(config, "forgetting", None):
        if not initial:
            raise UserError("forgetting holds an encoder to its initial_weights: name some")
        method = with_term(method, forgetting, getattr(source, "facts", None))
    if distributed.is_first():
        # The encoder of a run that is extended is not that of the run that is asked for.
        (stage.output / CONFIG).unlink(missing_ok=True)
        write_json(stage.output / FILE, described(encoder))
    sizes = {"encoder": encoder, "all": method}
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in sizes.items()}
    stage.log.info("parameters: %d, of which the encoder has %d", counts["all"], counts["encoder"])
    train(
        method, source, config.loop, Place(stage.output, stage.device, config.resources, stage.log)
    )
    merge_low_rank(encoder)
    last = read_metrics(stage.output)[-1] if distributed.is_first() else {}
    if distributed.is_first():
        provenance = {"method": type(method).__name__, "loop": plain(config.loop), "last": last}
        write_encoder(stage.output, encoder, provenance)
    facts = getattr(source, "facts", DataFacts())
    hours = config.loop.steps * facts.seconds_per_step / 3600
    return {"parameters": counts, "hours_of_audio": round(hours, 4), "last": last}
