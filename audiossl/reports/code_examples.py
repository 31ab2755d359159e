"""Examples of the most used codes: the clips in which each fires longest, in every modality."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int

from audiossl.data.alignments import AlignedWord
from audiossl.data.pair_corpus import PairCorpus
from audiossl.data.pair_sounds import PairSounds
from audiossl.data.pairs import Reference
from audiossl.data.reading import SAMPLE_RATE
from audiossl.probing.pair_codes import Words, label_counts, numbered_labels
from audiossl.probing.pair_embeddings import PairEmbeddings
from audiossl.probing.shared_codes import localize, most_used
from audiossl.probing.word_codes import CodeWord, code_words
from audiossl.reports.code_cards import (
    CodeCard,
    Example,
    OtherExample,
    SoundExample,
    TextExample,
    code_cards,
)

CODES, EXAMPLES = 12, 3
MARGIN = 0.3
"""Seconds that are played before and after a code fires."""
LONGEST = 6.0
"""Seconds of a clip that is played whole."""


@dataclass(frozen=True)
class ExampleSource:
    """Where examples are taken from."""

    corpus: PairCorpus
    rows: Int[np.ndarray, " chosen"]
    """Rows of the pairs that were embedded."""
    cuts: Sequence[Path] = ()
    """Folders of the corpus they were made from; without it no sound can be played."""
    labels: Sequence[str] = ()
    """Labels, which frames inherit from their clips."""
    words: Words = field(default_factory=dict)
    """Words of each pair, for modalities that have known ones."""


class CodeExamples:
    """Examples of the codes of one run."""

    def __init__(self, run: PairEmbeddings, source: ExampleSource) -> None:
        self.run, self.source = run, source
        self.sounds = PairSounds(*source.cuts) if source.cuts else None
        self.counts = label_counts(run, np.zeros(len(source.rows), np.int64))
        self.labels = {}
        for label in source.labels:
            values, names = numbered_labels(source.corpus, source.rows, label)
            self.labels[label] = label_counts(run, values), names
        self.words = {name: self._words(name, words) for name, words in source.words.items()}

    def html(self) -> str:
        """Write the cards of the most used codes."""
        used = self.counts.sum(axis=(0, 2)) > 0
        codes = [int(code) for code in most_used(self.counts)[:CODES] if used[code]]
        return code_cards([self._card(code) for code in codes])

    def _card(self, code: int) -> CodeCard:
        uses = {
            name: float(counts[code, 0] / max(counts.sum(), 1))
            for name, counts in zip(self.run.modalities, self.counts, strict=True)
        }
        modalities = list(self.run.modalities)
        names = {name: self._names(name, index, code) for index, name in enumerate(modalities)}
        examples = {name: self._examples(name, code) for name in modalities}
        return CodeCard(code, uses, names, examples, self._together(code))

    def _words(
        self, name: str, words: Sequence[Sequence[AlignedWord]]
    ) -> dict[int, list[CodeWord]]:
        """Give each code of a modality its words, best first."""
        modality = self.run.modalities[name]
        of_codes = code_words(modality.codes, words, modality.frame_rate)
        return {own[0].code: own for own in of_codes}

    def _names(self, name: str, index: int, code: int) -> str:
        """Name the two labels, and the two words, that the code stands for most."""
        parts = []
        for label, (counts, names) in self.labels.items():
            row = counts[index, code]
            best = [n for n in np.argsort(-row, kind="stable")[:2] if row[n]]
            shares = ", ".join(f"{names[n] or 'none'} {row[n] / row.sum():.0%}" for n in best)
            parts.append(f"{label}: {shares}" if shares else "")
        words = self.words.get(name, {}).get(code, [])[:2]
        shares = ", ".join(f"{word.word} (F1 {word.f1:.2f})" for word in words)
        parts.append(f"words: {shares}" if shares else "")
        return "; ".join(part for part in parts if part)

    def _examples(self, name: str, code: int) -> list[Example]:
        """Show the clips in which the code fires longest, of different groups first."""
        lengths = self._lengths(name, code)
        order = [i for i in np.argsort(-lengths, kind="stable").tolist() if lengths[i]]
        first: dict[str, int] = {}
        seen: dict[int, int] = {}
        for index in order:
            row = self.source.rows[index]
            first.setdefault(self.source.corpus.rows[row]["group"], index)
            seen.setdefault(int(self.source.corpus.concepts[row]), index)
        # Clips of one concept hold the same sound; they are shown once.
        chosen = list(dict.fromkeys([*first.values(), *seen.values()]))[:EXAMPLES]
        return [self._example(name, index, code, whole=False) for index in chosen]

    def _together(self, code: int) -> dict[str, Example]:
        """Show the clip in which every modality has the code longest."""
        lengths = np.stack([self._lengths(name, code) for name in self.run.modalities])
        least = (lengths / np.maximum(lengths.max(axis=1, keepdims=True), 1)).min(axis=0)
        index = int(least.argmax())
        if not least[index]:
            return {}
        return {name: self._example(name, index, code, whole=True) for name in self.run.modalities}

    def _lengths(self, name: str, code: int) -> Int[np.ndarray, " chosen"]:
        clips = self.run.modalities[name].codes
        return np.array([np.count_nonzero(codes == code) for codes in clips])

    def _example(self, name: str, index: int, code: int, *, whole: bool) -> Example:
        modality = self.run.modalities[name]
        pair = int(self.source.rows[index])
        row = self.source.corpus.rows[pair]
        places = localize(modality.codes[index], code, modality.frame_rate)
        facts = self.source.corpus.modalities[name]
        if facts.kind == "text":
            tokens = self.source.corpus.values(name, pair)
            units = tuple(facts.vocabulary[token] for token in tokens)
            spans = tuple((int(first), int(np.ceil(last))) for first, last in places)
            return TextExample(units, spans, "")
        start, end = max(places, key=lambda place: place[1] - place[0])
        reference = Reference(**row["modalities"][name])
        field_ = "" if reference.field == "recording" else f" ({reference.field})"
        begin = reference.start + start
        waveform = None
        if facts.kind == "sound" and self.sounds is not None:
            waveform = self.sounds.waveform(reference)
            # The last frame of a clip reaches over its end.
            end = min(end, len(waveform) / SAMPLE_RATE)
        caption = f"{reference.place}{field_}, {begin:.2f} to {begin + end - start:.2f} s"
        if waveform is not None:
            return _piece(waveform, places, (start, end), caption, whole=whole)
        return OtherExample(caption)


def _piece(
    waveform: np.ndarray,
    places: Sequence[tuple[float, float]],
    longest: tuple[float, float],
    caption: str,
    *,
    whole: bool,
) -> SoundExample:
    """Cut out what surrounds the longest place, or the clip if it is not too long."""
    seconds = len(waveform) / SAMPLE_RATE
    first, last = max(0.0, longest[0] - MARGIN), min(seconds, longest[1] + MARGIN)
    if whole:
        first = max(0.0, min(longest[0] - MARGIN, seconds - LONGEST))
        last = min(seconds, first + LONGEST)
        if seconds <= LONGEST:
            first, last = 0.0, seconds
    piece = waveform[round(first * SAMPLE_RATE) : round(last * SAMPLE_RATE)]
    length = max(last - first, 1e-6)
    marks = tuple(
        ((max(begin, first) - first) / length, (min(end, last) - first) / length)
        for begin, end in places
        if begin < last and end > first
    )
    return SoundExample(piece, caption, marks)
