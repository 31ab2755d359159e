"""Stage: embed every cut of a corpus under every encoder, and under the baselines of tables."""

import functools
import hashlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from audiossl import distributed
from audiossl.atomic_files import atomic_write, read_json, write_json
from audiossl.configs import Positive, Whole, plain
from audiossl.data.corpus import Corpus
from audiossl.data.layout import RECORDING, field_file
from audiossl.digests import digest_of_json
from audiossl.errors import UserError, did_you_mean
from audiossl.models.batching import Batching
from audiossl.models.encoder import Encoder
from audiossl.nn.weights import read_weights
from audiossl.pretrained.load import load_encoder
from audiossl.probing.embeddings import (
    ROWS,
    EmbeddingConfig,
    content_key,
    embed_cuts,
    encoder_digest,
    not_finite,
    write_embeddings,
)
from audiossl.probing.frame_tracks import frame_tensors
from audiossl.probing.results import EncoderFacts
from audiossl.probing.segment_embeddings import embed_segments, timed_cuts
from audiossl.probing.segments import parse_segments
from recipes.probe.encoders import Row, folders_of, with_baselines
from recipes.shards import Outcome, Task, run_shards
from recipes.stage import Resources, Stage, main


@dataclass(frozen=True, kw_only=True)
class EmbedResources(Resources):
    """What embedding works with: none of it changes the result."""

    cache: Path | None = None
    """Folder of embeddings shared with other runs, keyed by the content of encoder and audio, so
    that an encoder that is already there is not run again."""
    batch_seconds: Positive = 30.0
    """Seconds of audio in a batch, padding included."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Embed a corpus once, for all probes."""

    cuts: Path
    """Output of a `prepare` stage."""
    encoders: dict[str, str]
    """Encoders by their name in tables: a folder of ours, or kind:path as `load_encoder` takes.
    Names that differ after a "#" are seeds of one system (cola#0, cola#1): tables show their
    mean."""
    output: Path
    """Folder of the embeddings."""
    embedding: EmbeddingConfig = EmbeddingConfig()
    """Layers, statistics and windows of the embeddings."""
    where: dict[str, list[str]] = field(default_factory=dict)
    """Labels and their values of the cuts that are embedded, as in {domain: [speech]}; all if
    empty. Probes leave the others out."""
    random_seeds: tuple[Whole, ...] = (0,)
    """Random seeds of the weights of random encoders; scores are averaged over several."""
    random_of: tuple[str, ...] | None = None
    """Names of the encoders that get random copies; null: all of them."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Number type in which encoders compute; bfloat16 on devices that can."""
    resources: EmbedResources = field(default_factory=EmbedResources)
    """Cache, processes and device."""

    def extra_inputs(self) -> dict[str, Path]:
        """Name inputs that are part of other settings."""
        return folders_of(self.encoders)


@dataclass(frozen=True)
class _Part:
    """One encoder on one shard."""

    row: Row
    shard: int
    key: str


def embed(config: Config, stage: Stage) -> dict[str, Any]:
    """Run every encoder over every shard, unless the cache has it."""
    rows = with_baselines(config.encoders, config.random_seeds, config.random_of)
    corpus = Corpus(config.cuts)
    shards = list(range(corpus.num_shards))
    chosen = _chosen(corpus, config.where)
    audio = {shard: _audio(config.cuts, shard) for shard in shards}
    if config.where:
        audio = {shard: content + digest_of_json(chosen[shard]) for shard, content in audio.items()}
    segments = _segments_digests(corpus, config.embedding.segments)
    tasks: list[Task] = []
    facts: dict[str, EncoderFacts] = {}
    for row in rows:
        encoder = load_encoder(row.source)
        facts[row.name] = known = _facts(row, encoder)
        stage.log.info(
            "encoder %s: %s, %.2f M parameters, weights %s", row.name, row.source,
            (known.parameters or 0) / 1e6, known.digest,
        )  # fmt: skip
        network = digest_of_json([known.digest, known.layer_convention])
        for shard in shards:
            content = audio[shard] + segments[shard]
            key = content_key(network, content, config.embedding, config.precision)
            tasks.append(Task(len(tasks), key, _Part(row, shard, key)))
    make = partial(_worker, config, str(stage.device))
    totals = run_shards(stage, tasks, make, config.resources)
    if distributed.is_first():
        first = next(shard for shard in shards if chosen[shard])
        for row in rows:
            sizes = _sizes(config.output / shard_file(row.name, first))
            facts[row.name] = replace(facts[row.name], embeddings=sizes)
        identity = read_json(config.cuts / "corpus.json")["cuts"]
        encoders = {name: plain(known) for name, known in facts.items()}
        written = {"cuts": identity, "where": config.where, "shards": shards, "encoders": encoders}
        write_json(config.output / "embeddings.json", written)
    return {**totals, "encoders": len(rows)}


def shard_file(encoder: str, shard: int) -> str:
    """Name the embeddings of a shard, relative to the stage's output."""
    return f"{encoder}/{shard:06d}.safetensors"


def _worker(config: Config, device: str) -> Callable[[Task], Outcome]:
    corpus = Corpus(config.cuts)
    chosen = _chosen(corpus, config.where)
    load = functools.lru_cache(maxsize=1)(lambda source: load_encoder(source).to(device))

    def work(task: Task) -> Outcome:
        part: _Part = task.payload
        name = shard_file(part.row.name, part.shard)
        path, cuts = config.output / name, chosen[part.shard]
        cache = config.resources.cache
        known = cache / f"{part.key}.safetensors" if cache else None
        if known is not None and _is_whole(known):
            _link(known, path)
        else:
            cuts_of_shard = chosen[part.shard]
            tensors = _embedded(config, corpus, part.shard, cuts_of_shard, load(part.row.source))
            write_embeddings(path, tensors, part.key)
            if known is not None:
                _link(path, known)
        hours = float(corpus.num_samples[cuts].sum()) / 16_000 / 3600
        return Outcome((name,), len(cuts), hours)

    return work


def _chosen(corpus: Corpus, where: Mapping[str, Sequence[str]]) -> list[list[int]]:
    """List the cuts of each shard that are embedded."""
    chosen = corpus.select(where)
    shards = corpus.shards[chosen]
    return [chosen[shards == shard].tolist() for shard in range(corpus.num_shards)]


def _embedded(
    config: Config, corpus: Corpus, shard: int, chosen: Sequence[int], encoder: nn.Module
) -> dict[str, Tensor]:
    resources = config.resources
    batching = Batching(batch_seconds=resources.batch_seconds, precision=config.precision)
    device = next((p.device for p in encoder.parameters()), torch.device("cpu"))
    ready = cast(Encoder, encoder)
    wanted, cuts = config.embedding, corpus.shard_cuts(shard)
    tensors = embed_cuts(corpus, chosen, ready, wanted, device=device, batching=batching)
    counts = torch.zeros(len(cuts), dtype=torch.int64)
    counts[np.searchsorted(cuts, chosen)] = tensors[ROWS]
    tensors[ROWS] = counts
    if wanted.frames:
        timed = timed_cuts(corpus, chosen, ready, wanted, device=device, batching=batching)
        kept = dict(zip(chosen, timed, strict=True))
        storage = getattr(torch, wanted.storage)
        tensors |= frame_tensors([kept.get(cut, {}) for cut in cuts.tolist()], storage)
    if wanted.segments is None:
        return tensors
    labels = corpus.shard_labels(shard)
    segments = [
        parse_segments(of_cut.get(wanted.segments, ""), of_cut["id"]) if cut in chosen else []
        for cut, of_cut in zip(cuts.tolist(), labels, strict=True)
    ]
    return tensors | embed_segments(
        corpus, cuts.tolist(), segments, ready, wanted, device=device, batching=batching
    )


def _segments_digests(corpus: Corpus, label: str | None) -> list[str]:
    """Identify the segments of each shard by their content.

    Raises:
        UserError: No cut has the label.
    """
    if label is None:
        return [""] * corpus.num_shards
    of_shards = [list(corpus.shard_labels(shard)) for shard in range(corpus.num_shards)]
    names = {name for shard in of_shards for labels in shard for name in labels}
    if label not in names:
        raise UserError(
            f"embedding.segments: no cut has a label {label!r}{did_you_mean(label, names)} "
            f"(there are {', '.join(sorted(names))})"
        )
    texts = ("\n".join(labels.get(label, "") for labels in shard) for shard in of_shards)
    return [hashlib.sha256(text.encode()).hexdigest() for text in texts]


def _is_whole(cached: Path) -> bool:
    """Whether a file of the cache can be read to its end; one that was cut off is made again."""
    try:
        return cached.is_file() and not not_finite(read_weights(cached))
    except UserError:
        return False


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, or a copy where the file system has no second names."""
    with atomic_write(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def _audio(cuts: Path, shard: int) -> str:
    """Identify the audio of a shard by its content."""
    name = field_file(RECORDING, shard)
    receipt = cuts / "receipts" / f"{shard:06d}.json"
    if receipt.exists():
        return str(read_json(receipt)["files"][name]["sha256"])
    return hashlib.sha256((cuts / name).read_bytes()).hexdigest()


def _facts(row: Row, encoder: Any) -> EncoderFacts:
    return EncoderFacts(
        role=row.role,
        source=row.source,
        digest=encoder_digest(encoder),
        parameters=sum(parameter.numel() for parameter in encoder.parameters()),
        frame_rate=encoder.frame_rate,
        layer_convention=encoder.layer_convention,
    )


def _sizes(path: Path) -> dict[str, int]:
    tensors: dict[str, Tensor] = read_weights(path)
    return {name: tensor.shape[1] for name, tensor in tensors.items() if tensor.ndim == 2}


if __name__ == "__main__":
    main(Config, embed, "recipes.probe.embed")
