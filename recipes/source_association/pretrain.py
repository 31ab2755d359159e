"""Stage: pretrain an encoder with musical source association on mixtures and their stems."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from audiossl.configs import Count
from audiossl.data.corpus import Corpus
from audiossl.data.plan import PlanConfig
from audiossl.data.views import Views, ViewsConfig
from audiossl.methods.build import ViewMethodConfig, build_method
from audiossl.methods.source_association import SourceAssociationConfig
from audiossl.models.build import EncoderConfig, build_encoder
from audiossl.models.efficientnet import EfficientNetConfig
from recipes.pretraining import PretrainConfig, pretrain, report_identical
from recipes.stage import Stage, main


@dataclass(frozen=True, kw_only=True)
class Config(PretrainConfig):
    """Pretrain an encoder with musical source association."""

    stems: Path
    """Output of `recipes.source_association.separate` for the same cuts."""
    encoder: EncoderConfig = EfficientNetConfig()
    """Network to train."""
    method: ViewMethodConfig = SourceAssociationConfig()
    """Projection head, similarity and loss around it."""
    views: ViewsConfig = ViewsConfig()
    """Crops of the cuts, and the sources of positives."""
    batch_size: Count = 128
    """Number of pairs in a batch, of all ranks."""


def associate(config: Config, stage: Stage) -> dict[str, Any]:
    """Train on pairs of a mixture and one of its stems."""
    torch.manual_seed(config.loop.seed)
    corpus = Corpus(config.cuts, config.stems)
    plan = PlanConfig(seed=config.loop.seed, batch_size=config.batch_size, num_buckets=1)
    views = Views(corpus, config.views, plan, corpus.select(config.where))
    identical = report_identical(views, config.method, stage)
    for source, active in views.active.items():
        stage.log.info("%s sounds in %d of %d segments", source, active.sum(), len(active))
    method = build_method(config.method, build_encoder(config.encoder), views.facts)
    return {**pretrain(method, views, config, stage), "identical_segments": identical}


if __name__ == "__main__":
    main(Config, associate, "recipes.source_association.pretrain")
