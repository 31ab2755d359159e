"""What codes stand for, and where: joint use, labels, words, and places on a common time axis."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from audiossl.data.alignments import AlignedWord, read_ctm
from audiossl.data.pair_corpus import PairCorpus
from audiossl.errors import UserError
from audiossl.probing.leakage import side_leakage
from audiossl.probing.localization import code_overlap, frame_retrieval
from audiossl.probing.shared_codes import agreement, code_figures, count_labels
from audiossl.probing.word_codes import CodeWord, code_words
from recipes.code_matching.embedded import Embedded

BEST_WORDS = 10
LEAST_USES = 5
"""Of a code beside words: one that fires once is right by accident."""
Rows = Int[np.ndarray, " chosen"]


def shared_codes(
    run: Embedded,
    corpus: PairCorpus,
    rows: Rows,
    *,
    labels: Sequence[str],
    aligned: bool,
    words: Mapping[str, Sequence[Sequence[AlignedWord]]],
) -> dict[str, Any]:
    """Compare the codes of the sides with each other, with labels and with words.

    Args:
        run: The pairs as a method embeds them.
        corpus: The pairs.
        rows: Which of them were embedded.
        labels: Names of labels, which the frames of a clip inherit.
        aligned: Whether the first two sides lie on one time axis at one frame rate.
        words: Of each pair, for sides of which it is known.
    """
    if any(not side.codes for side in run.sides.values()):
        return {}
    result: dict[str, Any] = asdict(code_figures(label_counts(run, np.zeros(len(rows), np.int64))))
    for kept in ("purity", "cluster_purity", "majority", "shared_information", "transfer"):
        result.pop(kept)
    groups = np.array([corpus.rows[row]["group"] for row in rows])
    shares = [np.exp(s.distributions) for s in run.sides.values() if s.distributions is not None]
    result["side_leakage"] = side_leakage(shares, groups)
    result["labels"] = {}
    for label in labels:
        numbers, _ = numbered(corpus, rows, label)
        result["labels"][label] = asdict(code_figures(label_counts(run, numbers)))
    if aligned:
        result["agreement"], result["localization"] = _agreement(run), _localization(run)
    if words:
        result["words"] = {side: _words(run, side, said) for side, said in words.items()}
    return result


def numbered(
    corpus: PairCorpus, rows: Rows, label: str
) -> tuple[Int[np.ndarray, " chosen"], list[str]]:
    """Number the values of a label; pairs without it have the value ""."""
    values = [corpus.rows[row]["labels"].get(label, "") for row in rows]
    names, numbers = np.unique(values, return_inverse=True)
    return numbers, names.tolist()


def label_counts(run: Embedded, labels: Int[np.ndarray, " pairs"]) -> np.ndarray:
    """Count how often each code of each side stands at each label of its clip."""
    size, num_labels = run.codebook_size, int(labels.max()) + 1
    return np.stack(
        [
            count_labels(
                np.concatenate(side.codes),
                np.repeat(labels, [len(codes) for codes in side.codes]),
                size,
                num_labels,
            )
            for side in run.sides.values()
        ]
    )


def known_words(
    corpus: PairCorpus, rows: Rows, alignments: Mapping[str, Path]
) -> dict[str, list[list[AlignedWord]]]:
    """Find the words of pairs: of texts in characters by themselves, of sounds by alignments.

    Raises:
        UserError: An alignment is for a side that is not there, or has none of its recordings.
    """
    result = {}
    for side in alignments:
        if side not in corpus.sides or corpus.sides[side].modality != "sound":
            raise UserError(f"alignments: no side of sound {side!r} (of {', '.join(corpus.sides)})")
    for side, facts in corpus.sides.items():
        if facts.modality == "text" and " " in facts.vocabulary:
            tokens = [corpus.values(side, int(row)) for row in rows]
            result[side] = [
                _split("".join(facts.vocabulary[t][:1] for t in clip)) for clip in tokens
            ]
        elif side in alignments:
            ctm = read_ctm(alignments[side])
            references = [corpus.rows[row]["sides"][side] for row in rows]
            if not any(reference["place"] in ctm for reference in references):
                raise UserError(f"{alignments[side]}: has none of the recordings of {side}")
            result[side] = [_cut(ctm, reference) for reference in references]
    return result


def _split(text: str) -> list[AlignedWord]:
    """Say which characters each word of a text is."""
    words, start = [], 0
    for word in text.split(" "):
        words.append(AlignedWord(word, float(start), float(start + len(word))))
        start += len(word) + 1
    return [word for word in words if word.word]


def _cut(
    ctm: Mapping[str, Sequence[AlignedWord]], reference: Mapping[str, Any]
) -> list[AlignedWord]:
    """Keep the words that a piece of a recording holds at least half of, in its own time."""
    first = reference.get("start", 0.0)
    last = first + (reference.get("duration") or float("inf"))
    return [
        AlignedWord(word, start - first, end - first)
        for word, start, end in ctm.get(reference["place"], ())
        if first <= (start + end) / 2 < last
    ]


def _words(run: Embedded, side: str, words: Sequence[Sequence[AlignedWord]]) -> dict[str, Any]:
    """Score codes as detectors of words, on clips that have some."""
    known = [index for index, said in enumerate(words) if said]
    codes = [run.sides[side].codes[index] for index in known]
    all_found = code_words(codes, [words[index] for index in known], run.sides[side].frame_rate)
    found = [row for row in all_found if row[0].uses >= LEAST_USES]
    best = [row[0].f1 for row in found]
    return {
        "codes": len(found),
        "mean_f1": float(np.mean(best)) if best else float("nan"),
        "f1_above_half": int(np.sum(np.array(best) > 0.5)),
        "best": [[_said(word) for word in row[:2]] for row in found[:BEST_WORDS]],
    }


def _said(found: CodeWord) -> dict[str, Any]:
    return {**asdict(found), "f1": found.f1}


def _agreement(run: Embedded) -> dict[str, dict[str, float]]:
    """Compare codes frame by frame, exactly and with a neighbor's leeway."""
    first, second = list(run.sides.values())[:2]
    if [len(codes) for codes in first.codes] != [len(codes) for codes in second.codes]:
        raise UserError(
            "aligned: the sides have other numbers of frames; leave it out, or bring both to one "
            "frame rate (encoders.*.convolutions.strides)"
        )
    one, other = (np.concatenate(side.codes) for side in (first, second))
    found = {f"within {t}": agreement(one, other, t) for t in (0, 1)}
    return {key: {"share": share, "kappa": kappa} for key, (share, kappa) in found.items()}


def _localization(run: Embedded) -> dict[str, Any]:
    """Compare where codes, and frames, are found on the first two sides of a clip."""
    (name, first), (other_name, second) = list(run.sides.items())[:2]
    ways = {f"{name} to {other_name}": (first, second), f"{other_name} to {name}": (second, first)}
    found = {way: frame_retrieval(a.frames, b.frames) for way, (a, b) in ways.items()}
    rate = first.frame_rate
    return {
        "overlap": asdict(code_overlap(first.codes, second.codes)),
        "frames": {
            way: {**asdict(one), "median_error_ms": 1000 * one.median_error / rate}
            for way, one in found.items()
        },
    }
