"""Stage: pretrain an encoder in rounds, on clients that keep their recordings (a simulation).

In each round every client trains the global weights on its own recordings, and the mean of what
comes back, weighted by the number of their cuts, is the next global one (FedAvg, McMahan et al.
2017). With `contrast`, clients are held to the global encoder and away from their own last one
(MOON, Li et al. 2021). A client's round is one task, in one thread, whose draws depend on (seed,
round, client) alone: any number of workers, or of actors on a Ray cluster, has the same result.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from audiossl import distributed
from audiossl.atomic_files import remove_folder, write_json
from audiossl.configs import Count
from audiossl.data.clients import ByLabelConfig, ClientsConfig, deal
from audiossl.data.corpus import Corpus
from audiossl.data.plan import PlanConfig
from audiossl.data.views import Views, ViewsConfig
from audiossl.errors import UserError
from audiossl.methods.build import ViewMethodConfig, build_method
from audiossl.methods.cola import ColaConfig
from audiossl.methods.model_contrast import ModelContrast, ModelContrastConfig, without_kept
from audiossl.models.build import EncoderConfig, build_encoder
from audiossl.models.description import FILE, described
from audiossl.models.efficientnet import EfficientNetConfig
from audiossl.nn.weights import load_exactly, read_weights, write_weights
from audiossl.pretrained.own import write_encoder
from audiossl.training.loop import Place, train
from audiossl.training.writers import read_metrics
from recipes.pretraining import PretrainConfig, begin
from recipes.record import digest
from recipes.shards import Outcome, Task, run_shards
from recipes.stage import Stage, main

GLOBAL = "global.safetensors"


@dataclass(frozen=True, kw_only=True)
class Config(PretrainConfig):
    """Pretrain an encoder with COLA on clients; `loop.steps` are those of a client in a round."""

    encoder: EncoderConfig = EfficientNetConfig()
    """Network to train."""
    method: ViewMethodConfig = ColaConfig()
    """Projection head, similarity and loss around it."""
    views: ViewsConfig = ViewsConfig()
    """Crops of the cuts."""
    batch_size: Count = 32
    """Number of pairs in a batch of a client."""
    clients: ClientsConfig = ByLabelConfig()
    """Clients, and which cuts are theirs."""
    rounds: Count = 10
    """Number of rounds."""
    contrast: ModelContrastConfig | None = None
    """Term that holds clients to the global encoder (MOON); null: plain FedAvg."""


@dataclass(frozen=True)
class _Part:
    """One client's round."""

    round: int
    number: int
    client: str
    cuts: tuple[int, ...]


def federate(config: Config, stage: Stage) -> dict[str, Any]:
    """Train round after round; the last global encoder is what is left."""
    if config.forgetting:
        raise UserError("forgetting: clients are held to the global encoder by contrast: set that")
    corpus = Corpus(config.cuts)
    clients = deal(
        config.clients, list(corpus.labels()), corpus.select(config.where), config.loop.seed
    )
    sizes = {name: len(cuts) for name, cuts in clients.items()}
    stage.log.info("%d clients, of %s cuts", len(clients), sizes)
    losses, content = [], ""
    for number in range(config.rounds):
        parts = [
            _Part(number, index, name, tuple(cuts.tolist()))
            for index, (name, cuts) in enumerate(clients.items())
        ]
        # What a round begins with is part of what its results are made from.
        tasks = [
            Task(number * len(parts) + part.number, digest([content, part.number]), part)
            for part in parts
        ]
        totals = run_shards(stage, tasks, partial(_worker, config, stage), config.resources)
        content = totals["content"]
        losses.append(totals["loss"] / len(parts))
        if distributed.is_first():
            _write_mean(config, number, parts)
        distributed.barrier()
        stage.log.info("round %d of %d: loss=%.4f", number + 1, config.rounds, losses[-1])
    method = _method(config, Views(corpus, config.views, _plan(config, 0)))
    load_exactly(method, _global(config, config.rounds - 1), "the last round")
    if distributed.is_first():
        encoder: Any = method.encoder
        write_json(stage.output / FILE, described(encoder))
        provenance = {"method": "federated " + type(method).__name__, "losses": losses}
        write_encoder(stage.output, encoder, provenance)
    return {"losses": losses}


def federated_mean(
    states: Sequence[Mapping[str, Tensor]], weights: Sequence[float]
) -> dict[str, Tensor]:
    """Average weights of clients (McMahan et al. 2017); counters are those of the first.

    Example:
        >>> states = [{"w": torch.tensor([0.0])}, {"w": torch.tensor([4.0])}]
        >>> federated_mean(states, [3, 1])
        {'w': tensor([1.])}
    """
    shares = [weight / sum(weights) for weight in weights]
    mean = {}
    for name, first in states[0].items():
        mean[name] = first
        if first.is_floating_point():
            parts = [s * state[name].double() for s, state in zip(shares, states, strict=True)]
            mean[name] = torch.stack(parts).sum(dim=0).to(first.dtype)
    return mean


def _worker(config: Config, stage: Stage) -> Callable[[Task], Outcome]:
    corpus = Corpus(config.cuts)

    def work(task: Task) -> Outcome:
        part: _Part = task.payload
        threads = torch.get_num_threads()
        # Sums of several threads differ in their last bit from those of another number of them.
        torch.set_num_threads(1)
        try:
            with distributed.alone():
                return _round_of_client(config, stage, corpus, part)
        finally:
            torch.set_num_threads(threads)

    return work


def _round_of_client(config: Config, stage: Stage, corpus: Corpus, part: _Part) -> Outcome:
    """Train the global weights on the recordings of a client."""
    seeds = np.random.SeedSequence([config.loop.seed, part.round, part.number])
    seed = int(seeds.generate_state(1)[0] >> 1)
    views = Views(corpus, config.views, _plan(config, seed), np.array(part.cuts))
    method = _method(config, views)
    if part.round:
        load_exactly(method, _global(config, part.round - 1), f"round {part.round}")
        if config.contrast:
            before = read_weights(_weights(config, dataclasses.replace(part, round=part.round - 1)))
            method = ModelContrast(method, config.contrast, views.facts)
            method.keep_previous(before, part.client)
    folder = config.output / "clients" / f"{part.round:04d}-{part.number:04d}"
    loop = dataclasses.replace(config.loop, seed=seed)
    resources = dataclasses.replace(config.resources, workers=0)
    train(method, views, loop, Place(folder, stage.device, resources, stage.log))
    write_weights(_weights(config, part), without_kept(method.state_dict()))
    loss = float(read_metrics(folder)[-1]["loss"])
    remove_folder(folder)
    hours = config.loop.steps * views.facts.seconds_per_step / 3600
    name = str(_weights(config, part).relative_to(config.output))
    return Outcome((name,), len(part.cuts), hours, figures={"loss": loss})


def _write_mean(config: Config, number: int, parts: Sequence[_Part]) -> None:
    states = [read_weights(_weights(config, part)) for part in parts]
    mean = federated_mean(states, [len(part.cuts) for part in parts])
    write_weights(_folder(config, number) / GLOBAL, mean)


def _method(config: Config, views: Views) -> nn.Module:
    """Make what every client begins the first round with."""
    torch.manual_seed(config.loop.seed)
    method = build_method(config.method, build_encoder(config.encoder), views.facts)
    begin(method.encoder, config, views.presentation)
    return method


def _plan(config: Config, seed: int) -> PlanConfig:
    return PlanConfig(seed=seed, batch_size=config.batch_size, num_buckets=1)


def _folder(config: Config, number: int) -> Path:
    return config.output / "rounds" / f"{number:04d}"


def _weights(config: Config, part: _Part) -> Path:
    return _folder(config, part.round) / f"{part.number:04d}.safetensors"


def _global(config: Config, number: int) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = read_weights(_folder(config, number) / GLOBAL)
    return weights


if __name__ == "__main__":
    main(Config, federate, "recipes.federated.pretrain")
