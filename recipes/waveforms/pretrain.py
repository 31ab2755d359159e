"""Stage: pretrain an encoder on waveforms, without pairs or targets."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch

from audiossl.data.corpus import Corpus
from audiossl.data.plan import PlanConfig
from audiossl.data.waveforms import Waveforms, WaveformsConfig
from audiossl.methods.build import WaveformMethodConfig, build_method
from audiossl.methods.masked_patches import MaskedPatchesConfig
from audiossl.models.build import EncoderConfig, build_encoder
from audiossl.models.zipformer.config import ZipformerConfig
from recipes.pretraining import PretrainConfig, pretrain
from recipes.stage import Stage, main


@dataclass(frozen=True, kw_only=True)
class Config(PretrainConfig):
    """Pretrain an encoder on waveforms alone."""

    encoder: EncoderConfig = ZipformerConfig()
    """Network to train."""
    method: WaveformMethodConfig = MaskedPatchesConfig()
    """Heads and loss around it."""
    data: WaveformsConfig = WaveformsConfig()
    """Length of the waveforms that are read."""
    plan: PlanConfig
    """Composition of batches; `batch_duration` is of all ranks."""


def train_on_waveforms(config: Config, stage: Stage) -> dict[str, Any]:
    """Train on waveforms."""
    torch.manual_seed(config.loop.seed)
    corpus = Corpus(config.cuts)
    plan = dataclasses.replace(config.plan, seed=config.loop.seed)
    source = Waveforms(corpus, config.data, plan, corpus.select(config.where))
    stage.log.info("%d cuts, %d batches an epoch", len(source.chosen), len(source.plan.epoch(0)))
    method = build_method(config.method, build_encoder(config.encoder), source.facts)
    return pretrain(method, source, config, stage)


if __name__ == "__main__":
    main(Config, train_on_waveforms, "recipes.waveforms.pretrain")
