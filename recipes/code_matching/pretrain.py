"""Stage: train encoders of two modalities, with or without a codebook that they share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from audiossl import distributed
from audiossl.configs import Count, plain
from audiossl.data.pair_corpus import PairCorpus, PairSource, PairViewsConfig
from audiossl.data.plan import PlanConfig
from audiossl.errors import UserError, did_you_mean
from audiossl.methods.build import PairMethodConfig
from audiossl.methods.code_matching import CodeMatching, CodeMatchingConfig
from audiossl.models.encoder import FeatureEncoder
from audiossl.models.modality_encoders import ModalityConfig
from audiossl.nn.weights import read_weights
from audiossl.pretrained.code_matching import WEIGHTS, Matching, build_matching, write_matching
from audiossl.pretrained.sources import paths_of
from audiossl.training.loop import LoopConfig, Place, train
from audiossl.training.writers import read_metrics
from recipes.pretraining import TrainingResources, take_weights
from recipes.stage import Stage, main


@dataclass(frozen=True, kw_only=True)
class Config:
    """Train the encoders of two modalities, and the codebook between them."""

    pairs: Path
    """Output of `recipes.code_matching.pairs`."""
    output: Path
    """Folder of checkpoints, records and, at the end, the method."""
    where: dict[str, list[str]] = field(default_factory=dict)
    """Labels and their values of the pairs that take part, as in {split: [train]}; all pairs if
    empty."""
    encoders: dict[str, ModalityConfig]
    """Network of each modality."""
    method: PairMethodConfig = CodeMatchingConfig()
    """Embeddings, codebook and loss around them."""
    views: PairViewsConfig = PairViewsConfig()
    """Augmentation of pairs."""
    batch_size: Count = 64
    """Number of pairs in a batch, of all ranks."""
    num_buckets: Count = 1
    """Number of buckets by the length of the first modality, for batches of like lengths: less
    padding, and lengths tell less. 1: batches of any lengths (the paper)."""
    warm_start: Path | None = None
    """Output of this stage with `method.path: continuous`: initial weights of encoders and heads.
    The paper's way; without it less is shared."""
    initial_weights: dict[str, str] = field(default_factory=dict)
    """Encoders by modality whose weights its network begins with, as `load_encoder` takes them; of
    the architecture of `encoders`."""
    loop: LoopConfig
    """Training loop: steps, optimizer, precision and records."""
    resources: TrainingResources = TrainingResources()
    """Device and worker processes."""

    def extra_inputs(self) -> dict[str, Path]:
        """Files and folders that `initial_weights` names."""
        return {
            f"initial_weights.{modality}.{index}": path
            for modality, source in self.initial_weights.items()
            for index, path in enumerate(paths_of(source))
        }


def code_matching(config: Config, stage: Stage) -> dict[str, Any]:
    """Train on pairs."""
    torch.manual_seed(config.loop.seed)
    corpus = PairCorpus(config.pairs)
    chosen = corpus.select(config.where)
    if min(config.batch_size, len(chosen)) < 2:
        raise UserError(
            f"batches of {config.batch_size} of {len(chosen)} pairs: contrast needs two at least"
        )
    method = build_matching(corpus.modalities, config.encoders, config.method)
    _check_codebook(method, corpus, chosen)
    if config.warm_start:
        method.warm_start(read_weights(config.warm_start / WEIGHTS), str(config.warm_start))
    for modality, initial in config.initial_weights.items():
        take_weights(_network_of(method, modality), initial)
        stage.log.info("initial weights of %s: %s", modality, initial)
    plan = PlanConfig(
        seed=config.loop.seed, batch_size=config.batch_size, num_buckets=config.num_buckets
    )
    source = PairSource(corpus, chosen, plan, config.views)
    count = sum(p.numel() for p in method.parameters())
    stage.log.info("%d pairs, parameters: %d", len(chosen), count)
    place = Place(stage.output, stage.device, config.resources, stage.log)
    train(method, source, config.loop, place)
    last: Mapping[str, Any] = {}
    if distributed.is_first():
        last = read_metrics(stage.output)[-1]
        provenance = {"loop": plain(config.loop), "last": last}
        matching = Matching(method.cpu(), corpus.modalities)
        write_matching(stage.output, matching, config.encoders, provenance)
    return {"parameters": count, "last": last}


def _check_codebook(method: CodeMatching, corpus: PairCorpus, chosen: np.ndarray) -> None:
    """Refuse a codebook with more entries than an epoch has frames to move them."""
    if method.codebook is None:
        return
    size = method.config.codebook.codebook_size
    frames = 0
    for modality in corpus.modalities:
        stride = int(method.encoder[modality].stride)  # type: ignore[arg-type]
        frames += int(-(-corpus.lengths(modality)[chosen] // stride).sum())
    if size > frames:
        raise UserError(
            f"a codebook of {size} entries, but all modalities of an epoch have {frames} frames: "
            "most entries would never be chosen; lower method.codebook.codebook_size, or bring more"
        )


def _network_of(method: CodeMatching, modality: str) -> FeatureEncoder:
    """Find the network of a modality that is one of sound."""
    encoders = dict(method.encoder.named_children())
    if modality not in encoders:
        raise UserError(
            f"initial_weights: no modality {modality!r}{did_you_mean(modality, encoders)}"
        )
    network = getattr(encoders[modality], "network", None)
    if not isinstance(network, FeatureEncoder):
        raise UserError(
            f"initial_weights.{modality}: its encoder is no network of sound (encoders.{modality})"
        )
    return network


if __name__ == "__main__":
    main(Config, code_matching, "recipes.code_matching.pretrain")
