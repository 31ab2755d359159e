"""Stage: distill several frozen teachers into one encoder."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from audiossl.data.corpus import Corpus
from audiossl.data.crops import Crops, CropsConfig
from audiossl.data.teacher_targets import TeacherTargets
from audiossl.errors import UserError, did_you_mean
from audiossl.methods.build import CropMethodConfig, build_method
from audiossl.methods.distillation import DistillationConfig
from audiossl.models.build import EncoderConfig, build_encoder
from audiossl.models.layered import LayeredConfig
from audiossl.pretrained.load import load_encoder
from recipes.pretraining import PretrainConfig, pretrain
from recipes.stage import Stage, main


@dataclass(frozen=True, kw_only=True)
class Config(PretrainConfig):
    """Distill several frozen teachers into one encoder."""

    crops: CropsConfig
    """Composition of batches of crops."""
    encoder: EncoderConfig = LayeredConfig()
    """Student to train."""
    method: CropMethodConfig = DistillationConfig()
    """Teachers, and the loss of predicting their features."""
    targets: dict[str, Path] = field(default_factory=dict)
    """Outputs of `recipes.distillation.targets` by name of the teacher: those teachers are not run,
    and crops are of the excerpts that have targets."""

    def extra_inputs(self) -> dict[str, Path]:
        """Targets and initial weights are inputs."""
        targets = {f"targets.{name}": path for name, path in self.targets.items()}
        return {**super().extra_inputs(), **targets}


def distill(config: Config, stage: Stage) -> dict[str, Any]:
    """Train a student to predict its teachers' features of crops."""
    corpus = Corpus(config.cuts)
    targets = {name: TeacherTargets(path, corpus.cuts_id) for name, path in config.targets.items()}
    chosen = corpus.select(config.where)
    source = Crops(corpus, config.crops, chosen, config.loop.seed, targets)
    named = getattr(config.method, "teachers", {})
    unknown = [name for name in targets if name not in named]
    if unknown:
        raise UserError(
            f"targets.{unknown[0]}: method.teachers has none of this name"
            f"{did_you_mean(unknown[0], named)}"
        )
    teachers = {
        name: load_encoder(teacher.source) for name, teacher in named.items() if name not in targets
    }
    torch.manual_seed(config.loop.seed)
    facts = dataclasses.replace(source.facts, teachers=teachers)
    method = build_method(config.method, build_encoder(config.encoder), facts)
    return pretrain(method, source, config, stage)


if __name__ == "__main__":
    main(Config, distill, "recipes.distillation.pretrain")
