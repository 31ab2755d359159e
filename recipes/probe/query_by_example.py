"""Stage: find spoken queries in documents by frames of encoders, without training anything.

Queries are warped into documents with the frames of every layer. The layer is chosen on validation
queries; test queries are scored once, by the maximum term-weighted value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from audiossl import distributed
from audiossl.atomic_files import check_name, read_json, write_json, write_text
from audiossl.configs import Positive, Whole
from audiossl.data.corpus import Corpus
from audiossl.errors import UserError, did_you_mean
from audiossl.pretrained.load import load_encoder
from audiossl.probing.bootstrap import group_weights, percentiles
from audiossl.probing.layer_cache import CachedLayers
from audiossl.probing.query_by_example import DECISION, search, targets_of
from audiossl.probing.term_weighted_value import Trials, maximum_values, value_at
from audiossl.reports.sequences import sequence_markdown, sequence_page
from recipes.probe.encoders import Row
from recipes.probe.frames import FrameProbeConfig, cached_layers, frame_rows
from recipes.probe.head_runs import differences_of
from recipes.stage import Resources, Stage, main

NOTE = (
    "Nothing is trained: queries are warped into documents by dynamic time warping. The layer is "
    "chosen on validation queries, test queries are scored once. MTWV: maximum term-weighted "
    "value; ATWV: that of documents whose score is two standard deviations above the mean of a "
    "query. Ranges are of bootstrap draws of queries."
)


@dataclass(frozen=True, kw_only=True)
class UnsearchedConfig:
    """What of a benchmark is not searched, as other languages: its scorer counts it."""

    documents: Whole = 0
    """Number of documents, in which nothing is found."""
    valid: Whole = 0
    """Number of validation queries that are in documents, of which nothing is found."""
    test: Whole = 0
    """Number of test queries that are in documents, of which nothing is found."""


@dataclass(frozen=True, kw_only=True)
class Config(FrameProbeConfig):
    """Find spoken queries in documents by the frames of encoders."""

    documents: dict[str, list[str]] = field(default_factory=lambda: {"split": ["document"]})
    """Labels and their values of the documents."""
    valid: dict[str, list[str]] = field(default_factory=lambda: {"split": ["valid"]})
    """Labels and their values of the queries that the layer is chosen on."""
    test: dict[str, list[str]] = field(default_factory=lambda: {"split": ["test"]})
    """Labels and their values of the queries that are scored."""
    label: str = "documents"
    """Label of queries with the names of the documents that they are in."""
    separator: str = "|"
    """Separator of names."""
    name: str = "id"
    """Label of documents with their name."""
    unsearched: UnsearchedConfig = UnsearchedConfig()
    """Rest of a benchmark, of which a part is searched; counted in a second figure."""
    layers: tuple[Whole, ...] = ()
    """Numbers of the layers to choose from, the first being 0; all if empty."""
    most_cached: Positive = 100.0
    """Most GiB of frames on disk, of each encoder, in float16."""
    resources: Resources = field(default_factory=Resources)
    """Device."""


@dataclass(frozen=True)
class _Data:
    """Numbers of cuts, and which documents hold each query."""

    corpus: Corpus
    documents: list[int]
    queries: Mapping[str, list[int]]
    """Numbers of the cuts of each split."""
    targets: Mapping[str, np.ndarray]

    @property
    def cuts(self) -> list[int]:
        """All cuts, in order."""
        return sorted({*self.documents, *self.queries["valid"], *self.queries["test"]})


def find_queries(config: Config, stage: Stage) -> dict[str, Any]:
    """Search with every layer of every encoder, choose layers, score, and write the table."""
    if not config.encoders:
        raise UserError("encoders: name at least one")
    for name in config.encoders:
        check_name(name, "name")
    data, rows = _data(config), []
    for one in frame_rows(config.encoders, config.baselines):
        row = {"encoder": one.name, "role": one.role, **_measured(config, data, one, stage)}
        stage.log.info("%s: MTWV %.4f", one.name, row["scores"]["mtwv"])
        rows.append(row)
    if distributed.is_first():
        table = _table(config, data, rows)
        write_json(config.output / "scores.json", {"format": 1, "tasks": [table]})
        write_text(config.output / "results.md", sequence_markdown([table], NOTE))
        page = sequence_page([table], NOTE, "Query by example")
        write_text(config.output / "report.html", page)
    return {"rows": len(rows), "documents": len(data.documents)}


def _data(config: Config) -> _Data:
    corpus = Corpus(config.cuts)
    labels = list(corpus.labels())
    places = {"documents": config.documents, "valid": config.valid, "test": config.test}
    cuts = {split: corpus.select(where).tolist() for split, where in places.items()}
    names = [_label(labels[cut], config.name) for cut in cuts["documents"]]
    targets = {}
    for split in ("valid", "test"):
        wanted = [
            _label(labels[cut], config.label, "").split(config.separator) for cut in cuts[split]
        ]
        targets[split] = targets_of(wanted, names)
        if not targets[split].any():
            raise UserError(
                f"{config.cuts}: no query of {split} is in any of {len(names)} documents: labels "
                f"{config.label!r} name documents by their label {config.name!r}"
            )
    return _Data(corpus, cuts.pop("documents"), cuts, targets)


def _label(labels: Mapping[str, str], name: str, missing: str | None = None) -> str:
    value = labels.get(name, missing)
    if value is None:
        raise UserError(f"cut {labels['id']} has no label {name!r}{did_you_mean(name, labels)}")
    return value


def _measured(config: Config, data: _Data, one: Row, stage: Stage) -> dict[str, Any]:
    """Choose the layer of an encoder, and score test queries by it."""
    folder = config.output / "runs" / one.name
    done = folder / "row.json"
    if done.exists():
        content: dict[str, Any] = read_json(done)
        return content
    cache = _cached(config, data, one, stage)
    count = cache.layers(data.documents[0]).shape[0]
    if beyond := [layer for layer in config.layers if layer >= count]:
        raise UserError(f"layers: {one.name} has 0 to {count - 1}, and no {beyond[0]}")
    valid = {}
    for layer in config.layers or range(count):
        scores = _scores(data, cache, "valid", layer, (folder, stage))
        valid[layer] = float(maximum_values(Trials(data.targets["valid"], scores))[0])
    layer = max(valid, key=lambda number: valid[number])
    row = _row(config, data, _scores(data, cache, "test", layer, (folder, stage)), folder) | {
        "choice": {"layer": layer},
        "validation": valid[layer],
        "layer_scores": [round(score, 4) for score in valid.values()],
    }
    if distributed.is_first():
        write_json(done, row)
    distributed.barrier()
    return row


def _cached(config: Config, data: _Data, one: Row, stage: Stage) -> CachedLayers:
    encoder = load_encoder(one.source).to(stage.device)
    place = config.output / "frames" / one.name
    most = config.most_cached
    cache = cached_layers(place, data.corpus, data.cuts, encoder, stage, most=most)
    if cache is None:
        raise UserError(
            f"{one.name}: frames are more than the {most:g} GiB of most_cached: raise it, or "
            "search fewer documents"
        )
    return cache


def _scores(
    data: _Data, cache: CachedLayers, split: str, layer: int, place: tuple[Path, Stage]
) -> Float[np.ndarray, "queries documents"]:
    """Search with a layer, unless that is done."""
    folder, stage = place
    path = folder / f"{split}_layer-{layer:02d}.json"
    if not path.exists():
        queries, documents = (
            [cache.layer(cut, layer) for cut in cuts]
            for cuts in (data.queries[split], data.documents)
        )
        found = search(queries, documents, stage.device)
        if distributed.is_first():
            write_json(path, np.round(found, 5).tolist())
        distributed.barrier()
    return np.array(read_json(path))


def _row(
    config: Config, data: _Data, scores: Float[np.ndarray, "queries documents"], folder: Path
) -> dict[str, Any]:
    """Score test queries, with intervals over queries."""
    unsearched, targets = config.unsearched, data.targets["test"]
    trials = {"mtwv": Trials(targets, scores)}
    if unsearched != UnsearchedConfig():
        counts = unsearched.test, unsearched.documents
        trials["mtwv_of_all"] = Trials(targets, scores, *counts)
    groups = np.arange(len(targets))
    weights = np.concatenate(list(group_weights(groups, config.bootstrap)))
    replicates = {name: maximum_values(one, weights) for name, one in trials.items()}
    if distributed.is_first():
        write_json(folder / "replicates.json", replicates["mtwv"].tolist())
    figures = {name: float(maximum_values(one)[0]) for name, one in trials.items()}
    return {
        "scores": figures | {"atwv": value_at(trials["mtwv"], DECISION)},
        "intervals": {
            name: percentiles(values, config.bootstrap) for name, values in replicates.items()
        },
    }


def _table(config: Config, data: _Data, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Describe the search with the rows, each compared with the first on the same draws."""

    def drawn(row: Mapping[str, Any]) -> np.ndarray:
        return np.array(read_json(config.output / "runs" / row["encoder"] / "replicates.json"))

    counts = {split: len(cuts) for split, cuts in data.queries.items()}
    return {
        "name": "query by example",
        "metric": "mtwv",
        "less_is_better": False,
        "facts": f"{len(data.documents)} documents; {counts['valid']} queries to choose on, "
        f"{counts['test']} to score, {int(data.targets['test'].any(axis=1).sum())} of them in some "
        "document",
        "rows": rows,
        "differences": list(differences_of(rows, "mtwv", drawn, config.bootstrap)),
    }


if __name__ == "__main__":
    main(Config, find_queries, "recipes.probe.query_by_example")
