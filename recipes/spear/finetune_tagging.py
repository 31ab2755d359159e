"""Stage: fine-tune an encoder to tag clips, from the mean of its frames; score by mean AP."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from audiossl import distributed
from audiossl.atomic_files import write_json
from audiossl.data.labeled_cuts import LabeledCuts, TagCuts, tag_matrix, tags_of
from audiossl.methods.tagging import Tagging, TaggingConfig
from audiossl.probing.metrics import METRICS, plain
from recipes.pretraining import pretrain
from recipes.spear.finetuning import FinetuneConfig, answers, open_encoder, seeds, write_head
from recipes.stage import Stage, main


@dataclass(frozen=True, kw_only=True)
class Config(FinetuneConfig):
    """Fine-tune an encoder to tag clips."""

    method: TaggingConfig = field(default_factory=TaggingConfig)
    """Tagging head and its training, mixing of cuts included."""


def finetune(config: Config, stage: Stage) -> dict[str, Any]:
    """Train, tag the test cuts, and score."""
    plan = seeds(config)
    cuts = LabeledCuts(config.cuts, config.train)
    test = LabeledCuts(config.cuts, dataclasses.replace(config.train, where=config.test))
    tags = tags_of(cuts)
    stage.log.info(
        "%d cuts to learn from, %d to score, %d tags", len(cuts.cuts), len(test.cuts), len(tags)
    )
    method = Tagging(open_encoder(config), config.method, len(tags))
    figures = pretrain(method, TagCuts(cuts, tags, plan), config, stage)
    probabilities = torch.stack(
        answers(method, test, lambda *batch: list(method.tag(*batch).cpu().unbind()), stage)
    )
    true = tag_matrix(test, tags).numpy().astype(bool)
    precision = plain(METRICS["pr_auc"], true, probabilities.numpy().astype(np.float64))
    stage.log.info("mean average precision %.4f on %d cuts", precision, len(true))
    scores = {"map": precision, "cuts": len(true), "tags": int(true.any(axis=0).sum())}
    write_head(stage, method)
    if distributed.is_first():
        write_json(stage.output / "tags.json", tags)
        write_json(stage.output / "scores.json", scores)
    return {**figures, "scores": scores}


if __name__ == "__main__":
    main(Config, finetune, "recipes.spear.finetune_tagging")
