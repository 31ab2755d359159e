"""Stage: pretrain an encoder with COLA on the recordings of a corpus."""

from dataclasses import dataclass
from typing import Any

import torch

from audiossl.configs import Count
from audiossl.data.corpus import Corpus
from audiossl.data.plan import PlanConfig
from audiossl.data.views import Views, ViewsConfig
from audiossl.methods.build import ViewMethodConfig, build_method
from audiossl.methods.cola import ColaConfig
from audiossl.models.build import EncoderConfig, build_encoder
from audiossl.models.efficientnet import EfficientNetConfig
from recipes.pretraining import PretrainConfig, pretrain, report_identical
from recipes.stage import Stage, main


@dataclass(frozen=True, kw_only=True)
class Config(PretrainConfig):
    """Pretrain an encoder with COLA."""

    encoder: EncoderConfig = EfficientNetConfig()
    """Network to train."""
    method: ViewMethodConfig = ColaConfig()
    """Projection head, similarity and loss around it."""
    views: ViewsConfig = ViewsConfig()
    """Crops of the cuts."""
    batch_size: Count = 64
    """Number of pairs in a batch, of all ranks."""


def cola(config: Config, stage: Stage) -> dict[str, Any]:
    """Train on pairs of crops."""
    torch.manual_seed(config.loop.seed)
    corpus = Corpus(config.cuts)
    plan = PlanConfig(seed=config.loop.seed, batch_size=config.batch_size, num_buckets=1)
    views = Views(corpus, config.views, plan, corpus.select(config.where))
    identical = report_identical(views, config.method, stage)
    stage.log.info("%d segments, %d batches an epoch", len(views.cuts), len(views.plan.epoch(0)))
    method = build_method(config.method, build_encoder(config.encoder), views.facts)
    return {**pretrain(method, views, config, stage), "identical_segments": identical}


if __name__ == "__main__":
    main(Config, cola, "recipes.cola.pretrain")
