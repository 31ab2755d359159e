"""What the most used codes fire on in each modality: to be heard, read and compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int

from audiossl.data.alignments import AlignedWord
from audiossl.data.corpus import Corpus
from audiossl.data.pair_corpus import PairCorpus
from audiossl.data.pairs import Reference
from audiossl.data.reading import SAMPLE_RATE
from audiossl.probing.shared_codes import localize, most_used
from audiossl.probing.word_codes import CodeWord, code_words
from audiossl.reports.code_pages import CodeCard, Example, Heard, Read, Told, code_cards
from recipes.code_matching.codes import label_counts, numbered
from recipes.code_matching.embedded import Embedded
from recipes.code_matching.sides import read_sound

CODES, EXAMPLES = 12, 3
MARGIN = 0.3
"""Seconds that are heard before and after a code fires."""
LONGEST = 6.0
"""Seconds of a clip that is heard whole."""


@dataclass(frozen=True)
class Shown:
    """What there is to show."""

    corpus: PairCorpus
    rows: Int[np.ndarray, " chosen"]
    """Which pairs were embedded."""
    cuts: Sequence[Path] = ()
    """What they were made from; without it nothing can be heard."""
    labels: Sequence[str] = ()
    """What frames inherit from their clips."""
    words: Mapping[str, Sequence[Sequence[AlignedWord]]] = field(default_factory=dict)
    """Of each pair, for sides of which it is known."""


class Cards:
    """What codes of one run fire on."""

    def __init__(self, run: Embedded, shown: Shown) -> None:
        self.run, self.shown = run, shown
        self.sounds = Corpus(*shown.cuts) if shown.cuts else None
        self.numbers: dict[str, int] = {}
        if self.sounds is not None:
            self.numbers = {self.sounds.name(i): i for i in range(len(self.sounds))}
        self.counts = label_counts(run, np.zeros(len(shown.rows), np.int64))
        self.labels = {}
        for label in shown.labels:
            values, names = numbered(shown.corpus, shown.rows, label)
            self.labels[label] = label_counts(run, values), names
        self.words: dict[str, dict[int, list[CodeWord]]] = {
            side: {
                found[0].code: found
                for found in code_words(run.sides[side].codes, said, run.sides[side].frame_rate)
            }
            for side, said in shown.words.items()
        }

    def html(self) -> str:
        """Write the cards of the most used codes."""
        used = self.counts.sum(axis=(0, 2)) > 0
        codes = [int(code) for code in most_used(self.counts)[:CODES] if used[code]]
        return code_cards([self._card(code) for code in codes])

    def _card(self, code: int) -> CodeCard:
        uses = {
            name: float(counts[code, 0] / max(counts.sum(), 1))
            for name, counts in zip(self.run.sides, self.counts, strict=True)
        }
        names = {name: self._names(name, index, code) for index, name in enumerate(self.run.sides)}
        examples = {name: self._examples(name, code) for name in self.run.sides}
        return CodeCard(code, uses, names, examples, self._together(code))

    def _names(self, side: str, index: int, code: int) -> str:
        """Name the two labels, and the two words, that the code stands for most."""
        said = []
        for label, (counts, names) in self.labels.items():
            row = counts[index, code]
            best = [n for n in np.argsort(-row, kind="stable")[:2] if row[n]]
            shares = ", ".join(f"{names[n] or 'none'} {row[n] / row.sum():.0%}" for n in best)
            said.append(f"{label}: {shares}" if shares else "")
        found = self.words.get(side, {}).get(code, [])[:2]
        shares = ", ".join(f"{word.word} (F1 {word.f1:.2f})" for word in found)
        said.append(f"words: {shares}" if shares else "")
        return "; ".join(part for part in said if part)

    def _examples(self, side: str, code: int) -> list[Example]:
        """Show the clips in which the code fires longest, of different groups first."""
        lengths = self._lengths(side, code)
        order = [i for i in np.argsort(-lengths, kind="stable").tolist() if lengths[i]]
        first: dict[str, int] = {}
        seen: dict[int, int] = {}
        for index in order:
            row = self.shown.rows[index]
            first.setdefault(self.shown.corpus.rows[row]["group"], index)
            seen.setdefault(int(self.shown.corpus.concepts[row]), index)
        # Clips of one concept hold the same sound; they are shown once.
        chosen = list(dict.fromkeys([*first.values(), *seen.values()]))[:EXAMPLES]
        return [self._example(side, index, code, whole=False) for index in chosen]

    def _together(self, code: int) -> dict[str, Example]:
        """Show the clip in which every side has the code longest."""
        lengths = np.stack([self._lengths(side, code) for side in self.run.sides])
        least = (lengths / np.maximum(lengths.max(axis=1, keepdims=True), 1)).min(axis=0)
        index = int(least.argmax())
        if not least[index]:
            return {}
        return {side: self._example(side, index, code, whole=True) for side in self.run.sides}

    def _lengths(self, side: str, code: int) -> Int[np.ndarray, " chosen"]:
        return np.array([np.count_nonzero(codes == code) for codes in self.run.sides[side].codes])

    def _example(self, name: str, index: int, code: int, *, whole: bool) -> Example:
        side = self.run.sides[name]
        pair = int(self.shown.rows[index])
        row = self.shown.corpus.rows[pair]
        places = localize(side.codes[index], code, side.frame_rate)
        facts = self.shown.corpus.sides[name]
        if facts.modality == "text":
            tokens = self.shown.corpus.values(name, pair)
            units = tuple(facts.vocabulary[token] for token in tokens)
            spans = tuple((int(first), int(np.ceil(last))) for first, last in places)
            return Read(units, spans, "")
        start, end = max(places, key=lambda place: place[1] - place[0])
        reference = Reference(**row["sides"][name])
        field_ = "" if reference.field == "recording" else f" ({reference.field})"
        begin = reference.start + start
        waveform = None
        if facts.modality == "sound" and self.sounds is not None:
            waveform = read_sound(self.sounds, self.numbers, reference)
            # The last frame of a clip reaches over its end.
            end = min(end, len(waveform) / SAMPLE_RATE)
        caption = f"{reference.place}{field_}, {begin:.2f} to {begin + end - start:.2f} s"
        if waveform is not None:
            return _heard(waveform, places, (start, end), caption, whole=whole)
        return Told(caption)


def _heard(
    waveform: np.ndarray,
    places: Sequence[tuple[float, float]],
    longest: tuple[float, float],
    caption: str,
    *,
    whole: bool,
) -> Heard:
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
    return Heard(piece, caption, marks)
