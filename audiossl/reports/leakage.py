"""Warnings of a report: test items of which pretraining has had a part."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from audiossl.data.corpus import Corpus
from audiossl.probing.overlap import Overlap, overlap
from audiossl.probing.predictions import read_predictions
from audiossl.reports.facts import Record


def leakage_warnings(fitted: Path, cuts: Path, runs: Mapping[str, Record | None]) -> list[str]:
    """Say which runs were pretrained on recordings, speakers or audio of the test items.

    Args:
        fitted: Output of the stage that fits probes.
        cuts: Corpus of the probes.
        runs: Name of each pretraining run to its record.
    """
    files = sorted((fitted / "predictions").glob("*/majority.none.npz"))
    if not (cuts / "corpus.json").exists() or not files:
        return []
    test = Corpus(cuts)
    ids = {name for path in files for name in read_predictions(path).ids}
    # An item that is a segment of a cut is named by the cut and where it begins.
    ids |= {name.rpartition("@")[0] for name in ids}
    tested = np.array([i for i in range(len(test)) if test.name(i) in ids], np.int64)
    return [
        _sentence(name, path, overlap)
        for name, record in runs.items()
        for path, where in _corpora(record)
        if (overlap := _overlap(path, where, test, tested))
    ]


def _corpora(record: Record | None) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """List the corpora of a run that are still there, and which of their cuts it used."""
    for name, entry in (record or {}).get("inputs", {}).items():
        path = Path(entry["path"])
        is_corpus = name.rpartition(".")[2] == "cuts" and (path / "corpus.json").exists()
        if record and is_corpus:
            yield path, record["identity"].get("where") or {}


def _overlap(
    path: Path, where: Mapping[str, Any], test: Corpus, tested: np.ndarray
) -> Overlap | None:
    corpus = test if path == test.folder else Corpus(path)
    return overlap(corpus, corpus.select(where), test, tested)


def _sentence(name: str, path: Path, overlap: Overlap) -> str:
    shared = [
        f"{label} of {count} of {overlap.test_cuts} test cuts"
        for label, count in overlap.shared.items()
        if count
    ]
    return (
        f"{name} was pretrained, without labels, on {path}, which has the {', the '.join(shared)}."
    )
