"""Stage: pretrain an encoder with SPEAR, on corpora that have the codes of their teachers."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from audiossl.data.coded_cuts import CodedCorpusConfig, CodedCuts, CodedCutsConfig
from audiossl.data.plan import PlanConfig
from audiossl.errors import UserError
from audiossl.methods.build import CodeMethodConfig, build_method
from audiossl.methods.masked_codes import MaskedCodesConfig
from audiossl.methods.mixing import MixingConfig
from audiossl.models.build import EncoderConfig, build_encoder
from audiossl.models.zipformer.config import ZipformerConfig
from audiossl.optim.eden import EdenConfig
from audiossl.training.loop import LoopConfig
from recipes.pretraining import InitialWeights, TrainingConfig, pretrain
from recipes.stage import Stage, main


@dataclass(frozen=True, kw_only=True)
class Config(InitialWeights, TrainingConfig):
    """Pretrain an encoder with SPEAR."""

    corpora: tuple[CodedCorpusConfig, ...]
    """Corpora of the mixture, each with its codes, its domain and its weight."""
    data: CodedCutsConfig
    """Codes that a cut must have, and cuts that take part."""
    plan: PlanConfig
    """Composition of batches; `batch_duration` is of all ranks."""
    encoder: EncoderConfig = ZipformerConfig()
    """Network to train."""
    method: CodeMethodConfig = MaskedCodesConfig()
    """Masks, mixing and weights of losses."""


def spear(config: Config, stage: Stage) -> dict[str, Any]:
    """Train on masked cuts."""
    source = coded_cuts(config)
    seconds = source.facts.seconds_per_step
    loop = with_seconds(config.loop, seconds)
    epoch = len(source.plan.epoch(0))
    stage.log.info("%d batches an epoch, %.0f s of audio a step", epoch, seconds)
    method = build(config, source)
    return pretrain(method, source, dataclasses.replace(config, loop=loop), stage)


def coded_cuts(config: Config) -> CodedCuts:
    """Open the corpora, and see that they bring what mixing asks for.

    Raises:
        UserError: Noise is asked for and there is none, or the corpora do not fit together.
    """
    if mixing_of(config).wants_noise and not config.data.noise:
        raise UserError(
            "method.mixing asks for noise, and data.noise names none: give the output of a prepare "
            "stage for noise, or set mixing.audio_probability to 0 and mixing.utterance_share to 1"
        )
    plan = dataclasses.replace(config.plan, seed=config.loop.seed)
    return CodedCuts(config.corpora, config.data, plan)


def mixing_of(config: Config) -> MixingConfig:
    """Find how the method mixes cuts; one without such settings mixes none."""
    mixing: MixingConfig = getattr(config.method, "mixing", MixingConfig())
    return mixing


def build(config: Config, source: CodedCuts) -> nn.Module:
    """Make the untrained network and its heads, for the codes that the data has."""
    torch.manual_seed(config.loop.seed)
    return build_method(config.method, build_encoder(config.encoder), source.facts)


def with_seconds(loop: LoopConfig, seconds: float) -> LoopConfig:
    """Give a schedule that counts hours of audio the seconds of audio of a step."""
    schedule = loop.optimizer.schedule
    if not isinstance(schedule, EdenConfig):
        return loop
    schedule = dataclasses.replace(schedule, seconds_per_step=seconds)
    return dataclasses.replace(
        loop, optimizer=dataclasses.replace(loop.optimizer, schedule=schedule)
    )


if __name__ == "__main__":
    main(Config, spear, "recipes.spear.pretrain")
