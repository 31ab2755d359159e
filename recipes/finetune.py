"""Stage: fine-tune any encoder with a head, whole, by changes of low rank, or frozen; score it."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from audiossl import distributed
from audiossl.data.labeled_cuts import LabeledConfig
from audiossl.data.plan import PlanConfig
from audiossl.errors import UserError
from audiossl.methods.supervised import (
    Adaptation,
    FrozenConfig,
    Supervised,
    SupervisedConfig,
    WholeConfig,
    facts_of,
)
from audiossl.nn.weights import write_weights
from audiossl.pretrained.load import load_encoder
from audiossl.pretrained.sources import paths_of
from audiossl.pretrained.trainable import trainable_encoder
from audiossl.probing.sequence_tasks import DecodingConfig, Target, figures_of
from audiossl.training.loop import Place, train
from audiossl.training.writers import read_metrics
from recipes.pretraining import TrainingConfig, pretrain
from recipes.stage import Stage, main
from recipes.supervised import answers_of, open_splits, write_answers

HEAD = "head.safetensors"
"""Weights of the head and of the sum of layers, beside those of the encoder."""


@dataclass(frozen=True, kw_only=True)
class Config(TrainingConfig):
    """Fine-tune an encoder. `loop.rate_scales` says how fast the encoder learns."""

    cuts: Path
    """Output of a `prepare` stage."""
    encoder: str
    """Encoder to fine-tune, as `load_encoder` takes it: audiossl:small, the output of a pretrain
    stage, hf:<folder>, torchaudio:<file>, ...; any at all if it stays frozen."""
    adaptation: Adaptation = WholeConfig()
    """Training of the encoder: "whole", "lora" or "frozen"."""
    target: Target
    """Content of the label: "classes" or "tags" of cuts; text as "characters", as "phones" (units
    between spaces) or with "slots"; or timed segments of which a frame has one ("frames") or
    several ("events"), or which are turns of "speakers"."""
    train: LabeledConfig
    """Cuts to train on, and the label to predict."""
    test: dict[str, list[str]] = field(default_factory=lambda: {"split": ["test"]})
    """Labels and their values of the cuts that are scored at the end."""
    method: SupervisedConfig = field(default_factory=SupervisedConfig)
    """Head and its training."""
    decoding: DecodingConfig = DecodingConfig()
    """Events and turns from probabilities of frames."""
    plan: PlanConfig
    """Composition of batches."""

    def extra_inputs(self) -> dict[str, Path]:
        """Files and folders that `encoder` names."""
        paths = enumerate(paths_of(self.encoder))
        return {f"encoder.{number}": path for number, path in paths}


def finetune(config: Config, stage: Stage) -> dict[str, Any]:
    """Train, answer for the test cuts, and score."""
    torch.manual_seed(config.loop.seed)
    if config.train.unlabeled and config.method.consistency is None:
        raise UserError(
            "train.unlabeled: cuts without labels teach by consistency alone: set "
            "method.consistency ({} for its defaults)"
        )
    plan = dataclasses.replace(config.plan, seed=config.loop.seed)
    others = {"test": config.test}
    splits = open_splits(config.cuts, config.target, config.train, others, plan)
    stage.log.info(
        "%d cuts to learn from, %d to score, classes: %s",
        len(splits.train.cuts.cuts), len(splits.others["test"].cuts.cuts),
        ", ".join(str(len(names)) for names in splits.targets.classes),
    )  # fmt: skip
    method = _method(config, splits.targets.outputs)
    figures = _trained(config, method, splits.train, stage)
    answers = answers_of(
        method.to(stage.device), splits.others["test"], splits.targets, config.decoding,
        stage.device,
    )  # fmt: skip
    scores = figures_of(answers)
    stage.log.info("%s", ", ".join(f"{name} {score:.4f}" for name, score in scores.items()))
    if distributed.is_first():
        write_answers(stage.output, answers, scores)
        state = {
            name: value
            for name, value in method.state_dict().items()
            if not name.startswith(("encoder.", "centers."))
        }
        write_weights(stage.output / HEAD, state, {"format": "pt"})
    return {**figures, "scores": scores}


def _method(config: Config, outputs: Any) -> Supervised:
    frozen = isinstance(config.adaptation, FrozenConfig)
    if frozen and config.loop.averaging:
        raise UserError("loop.averaging is of an encoder's weights, and this one stays frozen")
    encoder = load_encoder(config.encoder) if frozen else trainable_encoder(config.encoder)
    return Supervised(encoder, config.method, outputs, facts_of(encoder), config.adaptation)


def _trained(config: Config, method: Supervised, source: Any, stage: Stage) -> dict[str, Any]:
    """Train, and write the encoder if it has changed."""
    if not isinstance(config.adaptation, FrozenConfig):
        return pretrain(method, source, config, stage)
    train(
        method, source, config.loop, Place(stage.output, stage.device, config.resources, stage.log)
    )
    count = sum(parameter.numel() for parameter in method.parameters())
    last = read_metrics(stage.output)[-1] if distributed.is_first() else {}
    return {"parameters": {"head": count}, "last": last}


if __name__ == "__main__":
    main(Config, finetune, "recipes.finetune")
