"""Compare encoders without the test split: `... small.compare <cuts> <encoder> ...`.

<cuts> is what stage 2 of the benchmark writes. Ridge classifiers on standardized clip vectors, five
folds over groups, the best of three penalties; balanced accuracy. No item of the test split is
read: this is what encoders are chosen by.
"""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from audiossl.data.corpus import Corpus
from audiossl.data.layout import RECORDING
from audiossl.pretrained.embed import embed

TASKS = ("category", "family", "stem", "pitch", "initial")
PENALTIES = (1e2, 1e3, 1e4)
FOLDS = 5


def main(cuts: Path, encoders: Sequence[str]) -> None:
    """Write a row a task: items, and the score of each encoder."""
    corpus = Corpus(cuts)
    labels = list(corpus.labels())
    rows = [
        row for row, known in enumerate(labels)
        if known.get("split") in ("train", "valid") and any(known.get(task) for task in TASKS)
    ]  # fmt: skip
    clips = [corpus.waveform(row, RECORDING, 0, int(corpus.num_samples[row])) for row in rows]
    vectors = [embed(clips, encoder).numpy() for encoder in encoders]
    for task in TASKS:
        named = [place for place, row in enumerate(rows) if labels[row].get(task)]
        classes = np.array([labels[rows[place]][task] for place in named])
        groups = np.array([labels[rows[place]]["group"] for place in named])
        # A class of few groups would be scored without a training example in some folds.
        enough = np.array([len(set(groups[classes == name])) >= FOLDS for name in classes])
        chosen = np.flatnonzero(enough) if enough.any() else np.arange(len(classes))
        scores = [
            _score(each[np.array(named)[chosen]], classes[chosen], groups[chosen])
            for each in vectors
        ]
        figures = " ".join(f"{score:.3f}" for score in scores)
        sys.stdout.write(f"{task} {len(chosen)} {figures}\n")


def _score(vectors: np.ndarray, classes: np.ndarray, groups: np.ndarray) -> float:
    standardized = (vectors - vectors.mean(0)) / (vectors.std(0) + 1e-5)
    found = []
    for penalty in PENALTIES:
        probe = RidgeClassifier(alpha=penalty, class_weight="balanced")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some folds lack a class
            predictions = cross_val_predict(
                probe, standardized, classes, groups=groups, cv=GroupKFold(FOLDS)
            )
        found.append(balanced_accuracy_score(classes, predictions))
    return max(found)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(f"usage: python -m {__spec__.name} <cuts> <encoder> ...")
    main(Path(sys.argv[1]), sys.argv[2:])
