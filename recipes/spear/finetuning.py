"""What stages that fine-tune an encoder have in common."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from audiossl import distributed
from audiossl.data.labeled_cuts import LabeledConfig, LabeledCuts
from audiossl.data.plan import PlanConfig
from audiossl.errors import UserError
from audiossl.models.encoder import FeatureEncoder
from audiossl.nn.weights import write_weights
from audiossl.pretrained.load import load_encoder
from recipes.pretraining import TrainingConfig
from recipes.stage import Stage

HEAD = "head.safetensors"
"""Weights of the classifier, beside those of the encoder."""
Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(TrainingConfig):
    """Settings of every fine-tuning stage. `loop.rate_scales` says how fast the encoder learns."""

    cuts: Path
    """Output of a `prepare` stage."""
    encoder: str
    """Encoder to fine-tune: the output of a `pretrain` stage, or kind:path of a network of ours."""
    train: LabeledConfig
    """Cuts to train on, and the label to predict."""
    test: dict[str, list[str]] = field(default_factory=lambda: {"split": ["test"]})
    """Labels and their values of the cuts that are scored at the end."""
    plan: PlanConfig
    """Composition of batches."""

    def extra_inputs(self) -> dict[str, Path]:
        """Name inputs that are part of other settings."""
        place = Path(self.encoder.partition(":")[2] or self.encoder)
        return {"encoder": place} if place.exists() else {}


def open_encoder(config: FinetuneConfig) -> FeatureEncoder:
    """Load the encoder, to be trained on.

    Raises:
        UserError: It is frozen for good, as a teacher of another house may be.
    """
    encoder = load_encoder(config.encoder)
    if not isinstance(encoder, FeatureEncoder):
        raise UserError(f"{config.encoder}: cannot be fine-tuned: give a network of this package")
    return encoder.requires_grad_(True).train()


def answers(
    method: nn.Module,
    cuts: LabeledCuts,
    ask: Callable[[Tensor, Tensor], list[Answer]],
    stage: Stage,
) -> list[Answer]:
    """Ask a trained network about every cut, in order, like lengths together."""
    method.eval()
    answers_by_cut: dict[int, Answer] = {}
    for items in cuts.in_order(batch_duration=60.0):
        lengths = torch.from_numpy(cuts.lengths[items])
        waveforms = cuts.waveforms(items, int(lengths.max()))
        replies = ask(waveforms.to(stage.device), lengths.to(stage.device))
        answers_by_cut |= dict(zip(items, replies, strict=True))
    return [answers_by_cut[item] for item in range(len(cuts.cuts))]


def write_head(stage: Stage, method: nn.Module) -> None:
    """Write the classifier beside the encoder."""
    if distributed.is_first():
        classifier = method.get_submodule("classifier")
        write_weights(stage.output / HEAD, classifier.state_dict(), {"format": "pt"})


def seeds(config: FinetuneConfig) -> PlanConfig:
    """Seed torch for new weights, and the plan of batches alike."""
    torch.manual_seed(config.loop.seed)
    settings: dict[str, Any] = {**vars(config.plan), "seed": config.loop.seed}
    return PlanConfig(**settings)
