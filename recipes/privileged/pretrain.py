"""Stage: pretrain an encoder of mixtures with a frozen teacher that is given their stems."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from audiossl.data.corpus import Corpus
from audiossl.data.crops import CropsConfig
from audiossl.data.stem_crops import StemCrops
from audiossl.methods.build import StemMethodConfig, build_method
from audiossl.methods.privileged import PrivilegedConfig
from audiossl.models.build import EncoderConfig, build_encoder
from audiossl.models.patch_transformer import PatchTransformerConfig
from audiossl.pretrained.load import load_encoder
from audiossl.pretrained.sources import paths_of
from recipes.pretraining import PretrainConfig, pretrain
from recipes.stage import Stage, main


@dataclass(frozen=True, kw_only=True)
class Config(PretrainConfig):
    """Pretrain an encoder of mixtures with a teacher of stems."""

    stems: Path
    """Output of `recipes.source_association.separate` for the same cuts."""
    crops: CropsConfig
    """Composition of batches of crops."""
    teacher: str = "audiossl:small"
    """Frozen encoder of stems, as `load_encoder` takes it."""
    names: tuple[str, ...] = ()
    """Names of the stems that the teacher is given, side by side; all by default."""
    encoder: EncoderConfig = PatchTransformerConfig()
    """Student to train."""
    method: StemMethodConfig = PrivilegedConfig()
    """Heads and loss around it."""

    def extra_inputs(self) -> dict[str, Path]:
        """The teacher and initial weights are inputs."""
        teacher = {f"teacher.{i}": path for i, path in enumerate(paths_of(self.teacher))}
        return {**super().extra_inputs(), **teacher}


def inform(config: Config, stage: Stage) -> dict[str, Any]:
    """Train a student of mixtures."""
    corpus = Corpus(config.cuts, config.stems)
    chosen = corpus.select(config.where)
    source = StemCrops(corpus, config.crops, chosen, config.loop.seed, config.names)
    stage.log.info("%d cuts with stems %s", len(source.excerpts), ", ".join(source.stems))
    teacher = load_encoder(config.teacher)
    torch.manual_seed(config.loop.seed)
    facts = dataclasses.replace(source.facts, teachers={"teacher": teacher}, stems=source.stems)
    method = build_method(config.method, build_encoder(config.encoder), facts)
    return pretrain(method, source, config, stage)


if __name__ == "__main__":
    main(Config, inform, "recipes.privileged.pretrain")
