"""What codes stand for, and where: joint use, labels, words, and places on a common time axis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from audiossl.data.alignments import AlignedWord, read_ctm
from audiossl.data.pair_corpus import PairCorpus
from audiossl.errors import UserError
from audiossl.probing.localization import FrameRetrieval, Overlap, code_overlap, frame_retrieval
from audiossl.probing.modality_leakage import modality_leakage
from audiossl.probing.pair_embeddings import PairEmbeddings
from audiossl.probing.shared_codes import (
    Agreement,
    CodeFigures,
    Counts,
    agreement,
    code_figures,
    count_labels,
)
from audiossl.probing.word_codes import CodeWord, code_words

BEST_WORDS = 10
LEAST_USES = 5
"""Frames below which a code is not held against words: one that fires once is right by accident."""
Words = Mapping[str, Sequence[Sequence[AlignedWord]]]
"""Modality to the words of each pair."""


@dataclass(frozen=True)
class Localization:
    """How far two modalities of a clip place codes, and frames, at the same time."""

    overlap: Overlap
    frames: Mapping[str, FrameRetrieval]
    """Retrieval of frames by direction."""
    frame_rate: float
    """Frames a second."""


@dataclass(frozen=True)
class WordFigures:
    """Codes of a modality as detectors of words, of codes used at least `LEAST_USES` times."""

    codes: float
    """Number of codes; a mean over seeds, as all numbers here may be."""
    mean_f1: float
    """Mean F1 of each code's best word; NaN without codes."""
    f1_above_half: float
    """Codes whose best word has an F1 above 0.5."""
    best: tuple[tuple[CodeWord, ...], ...]
    """Best two words of each of the best codes."""


@dataclass(frozen=True)
class SharedCodes:
    """How the modalities of a run use its codebook."""

    figures: CodeFigures
    """Figures with all clips under one label."""
    modality_leakage: float
    """Accuracy of naming the modality of a clip by its codes; 1 over their number if shared."""
    labels: Mapping[str, CodeFigures]
    """Figures by label, which the frames of a clip inherit."""
    agreement: Mapping[int, Agreement] = field(default_factory=dict)
    """Agreement by tolerance in frames, where modalities lie on one time axis."""
    localization: Localization | None = None
    words: Mapping[str, WordFigures] = field(default_factory=dict)
    """Figures of words by modality, where words are known."""


def shared_codes(
    run: PairEmbeddings,
    corpus: PairCorpus,
    rows: Int[np.ndarray, " chosen"],
    *,
    labels: Sequence[str],
    aligned: bool,
    words: Words,
) -> SharedCodes | None:
    """Compare the codes of modalities with each other, with labels and with words.

    Args:
        run: The pairs as a method embeds them.
        corpus: The pairs.
        rows: Which of them were embedded.
        labels: Names of labels, which the frames of a clip inherit.
        aligned: Whether the first two modalities lie on one time axis at one frame rate.
        words: Of each pair, for modalities of which they are known.

    Returns:
        None without a codebook.
    """
    modalities = run.modalities.values()
    if any(not modality.codes for modality in modalities):
        return None
    groups = np.array([corpus.rows[row]["group"] for row in rows])
    logs = [m.log_distributions for m in modalities if m.log_distributions is not None]
    of_labels = {label: numbered_labels(corpus, rows, label)[0] for label in labels}
    return SharedCodes(
        figures=code_figures(label_counts(run, np.zeros(len(rows), np.int64))),
        modality_leakage=modality_leakage([np.exp(log) for log in logs], groups),
        labels={label: code_figures(label_counts(run, n)) for label, n in of_labels.items()},
        agreement=_agreement(run) if aligned else {},
        localization=_localization(run) if aligned else None,
        words={name: _word_figures(run, name, of_pairs) for name, of_pairs in words.items()},
    )


def numbered_labels(
    corpus: PairCorpus, rows: Int[np.ndarray, " chosen"], label: str
) -> tuple[Int[np.ndarray, " chosen"], list[str]]:
    """Number the values of a label; pairs without it have the value ""."""
    values = [corpus.rows[row]["labels"].get(label, "") for row in rows]
    names, numbers = np.unique(values, return_inverse=True)
    return numbers, names.tolist()


def label_counts(run: PairEmbeddings, labels: Int[np.ndarray, " pairs"]) -> Counts:
    """Count how often each code of each modality stands at each label of its clip."""
    size, num_labels = run.codebook_size, int(labels.max()) + 1
    return np.stack(
        [
            count_labels(
                np.concatenate(modality.codes),
                np.repeat(labels, [len(codes) for codes in modality.codes]),
                size,
                num_labels,
            )
            for modality in run.modalities.values()
        ]
    )


def known_words(
    corpus: PairCorpus, rows: Int[np.ndarray, " chosen"], alignments: Mapping[str, Path]
) -> Words:
    """Find the words of pairs: of texts in characters by themselves, of sounds by alignments.

    Raises:
        UserError: An alignment is for a modality that is not there, or has none of its recordings.
    """
    words = {}
    for name in alignments:
        if name not in corpus.modalities or corpus.modalities[name].kind != "sound":
            raise UserError(
                f"alignments: no sound modality {name!r} (of {', '.join(corpus.modalities)})"
            )
    for name, facts in corpus.modalities.items():
        if facts.kind == "text" and " " in facts.vocabulary:
            tokens = [corpus.values(name, int(row)) for row in rows]
            words[name] = [
                _words_of_text("".join(facts.vocabulary[t][:1] for t in clip)) for clip in tokens
            ]
        elif name in alignments:
            ctm = read_ctm(alignments[name])
            references = [corpus.rows[row]["modalities"][name] for row in rows]
            if not any(reference["place"] in ctm for reference in references):
                raise UserError(f"{alignments[name]}: has none of the recordings of {name}")
            words[name] = [_words_of_piece(ctm, reference) for reference in references]
    return words


def _words_of_text(text: str) -> list[AlignedWord]:
    """Give each word of a text its first character and the one behind its last."""
    words, start = [], 0
    for word in text.split(" "):
        words.append(AlignedWord(word, float(start), float(start + len(word))))
        start += len(word) + 1
    return [word for word in words if word.word]


def _words_of_piece(
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


def _word_figures(
    run: PairEmbeddings, name: str, words: Sequence[Sequence[AlignedWord]]
) -> WordFigures:
    """Score codes as detectors of words, on clips that have some."""
    modality = run.modalities[name]
    known = [index for index, of_clip in enumerate(words) if of_clip]
    codes = [modality.codes[index] for index in known]
    of_codes = code_words(codes, [words[index] for index in known], modality.frame_rate)
    used = [of_code for of_code in of_codes if of_code[0].uses >= LEAST_USES]
    best = [of_code[0].f1 for of_code in used]
    return WordFigures(
        codes=float(len(used)),
        mean_f1=float(np.mean(best)) if best else float("nan"),
        f1_above_half=float(np.sum(np.array(best) > 0.5)),
        best=tuple(tuple(of_code[:2]) for of_code in used[:BEST_WORDS]),
    )


def _agreement(run: PairEmbeddings) -> dict[int, Agreement]:
    """Compare codes frame by frame, exactly and with a neighbor's leeway."""
    first, second = list(run.modalities.values())[:2]
    if [len(codes) for codes in first.codes] != [len(codes) for codes in second.codes]:
        raise UserError(
            "aligned: the modalities have other numbers of frames; leave it out, or bring both to "
            "one frame rate (encoders.*.convolutions.strides)"
        )
    one, other = (np.concatenate(modality.codes) for modality in (first, second))
    return {tolerance: agreement(one, other, tolerance) for tolerance in (0, 1)}


def _localization(run: PairEmbeddings) -> Localization:
    """Compare where codes, and frames, are found on the first two modalities of a clip."""
    (name, first), (other, second) = list(run.modalities.items())[:2]
    frames = {
        f"{name} to {other}": frame_retrieval(first.frames, second.frames),
        f"{other} to {name}": frame_retrieval(second.frames, first.frames),
    }
    return Localization(code_overlap(first.codes, second.codes), frames, first.frame_rate)
