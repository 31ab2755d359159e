"""The page of an evaluation: scores, and what the most used codes fire on in each modality."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from audiossl.data.corpus import Corpus
from audiossl.data.pair_corpus import PairCorpus
from audiossl.data.pairs import Reference
from audiossl.data.reading import SAMPLE_RATE
from audiossl.probing.shared_codes import count_labels, localize, most_used
from audiossl.reports.code_pages import CodeCard, Example, Heard, Read, Told, code_cards
from audiossl.reports.page import Section, page, paragraph, table
from audiossl.whole import write_text
from recipes.code_matching.embedded import Embedded, Side
from recipes.code_matching.sides import read_sound

CODES, EXAMPLES = 12, 3
MARGIN = 0.25
"""Seconds that are heard before and after a code fires."""


def write_page(
    folder: Path,
    scores: Mapping[str, Any],
    runs: Mapping[str, Embedded],
    corpus: PairCorpus,
    rows: Int[np.ndarray, " chosen"],
    *,
    cuts: Sequence[Path],
) -> None:
    """Write report.html."""
    said = f"{scores['pairs']} pairs of {scores['concepts']} concepts; a query that finds another "
    said += "pair of its concept is right. Ranges hold 95 % of bootstrap draws of whole groups."
    sections = [
        Section("Retrieval", _retrieval(scores["runs"])),
        Section("Against the first run", _differences(scores["differences"])),
        Section("Shared codes", _shared(scores["runs"])),
    ]
    shown = _most_joint(scores["runs"])
    if shown is not None:
        cards = Cards(runs[shown], corpus, rows, cuts)
        about = (
            f"Codes of {shown}, those that all sides use most first. Sound is played from a quarter"
            " of a second before the code fires to as much after it; in text its place is marked."
        )
        sections.append(Section("Listen and look", paragraph(about, "meta") + cards.html()))
    title = f"Code matching: {' and '.join(corpus.sides)}"
    write_text(folder / "report.html", page(title, paragraph(said, "meta"), sections))


class Cards:
    """What codes of one run fire on."""

    def __init__(
        self,
        run: Embedded,
        corpus: PairCorpus,
        rows: Int[np.ndarray, " chosen"],
        cuts: Sequence[Path],
    ) -> None:
        self.run, self.corpus, self.rows = run, corpus, rows
        self.sounds = Corpus(*cuts) if cuts else None
        self.numbers: dict[str, int] = {}
        if self.sounds is not None:
            self.numbers = {self.sounds.name(i): i for i in range(len(self.sounds))}
        counts = [
            count_labels(codes := np.concatenate(side.codes), 0 * codes, run.codebook_size, 1)
            for side in run.sides.values()
        ]
        self.counts = np.stack(counts)

    def html(self) -> str:
        """Write the cards of the most used codes."""
        used = self.counts.sum(axis=(0, 2)) > 0
        codes = [int(code) for code in most_used(self.counts)[:CODES] if used[code]]
        return code_cards([self._card(code) for code in codes])

    def _card(self, code: int) -> CodeCard:
        uses = {
            name: float(counts[code, 0] / counts.sum())
            for name, counts in zip(self.run.sides, self.counts, strict=True)
        }
        examples = {name: self._examples(name, side, code) for name, side in self.run.sides.items()}
        return CodeCard(code, uses, "", examples)

    def _examples(self, name: str, side: Side, code: int) -> list[Example]:
        """Show the clips in which the code fires longest, each of another concept."""
        lengths = np.array([np.count_nonzero(codes == code) for codes in side.codes])
        shown: list[Example] = []
        seen: set[int] = set()
        for index in np.argsort(-lengths, kind="stable"):
            concept = int(self.corpus.concepts[self.rows[index]])
            if len(shown) == EXAMPLES or not lengths[index]:
                break
            if concept not in seen:
                seen.add(concept)
                shown.append(self._example(name, side, int(index), code))
        return shown

    def _example(self, name: str, side: Side, index: int, code: int) -> Example:
        row = self.corpus.rows[int(self.rows[index])]
        places = localize(side.codes[index], code, side.frame_rate)
        facts = self.corpus.sides[name]
        if facts.modality == "text":
            tokens = self.corpus.values(name, int(self.rows[index]))
            units = tuple(facts.vocabulary[token] for token in tokens)
            spans = tuple((int(first), int(np.ceil(last))) for first, last in places)
            return Read(units, spans, "")
        start, end = max(places, key=lambda place: place[1] - place[0])
        caption = f"{row['id']}, {start:.2f} to {end:.2f} s"
        if facts.modality == "sound" and self.sounds is not None:
            waveform = read_sound(self.sounds, self.numbers, Reference(**row["sides"][name]))
            first = max(0, round((start - MARGIN) * SAMPLE_RATE))
            return Heard(waveform[first : round((end + MARGIN) * SAMPLE_RATE)], caption)
        return Told(caption)


def _retrieval(runs: Mapping[str, Any]) -> str:
    columns = ["run", "by, pool, direction", "R@1", "R@5", "R@10", "chance at 10", "median rank"]
    rows = [
        [
            name,
            key,
            *(_figure(found[f"recall@{k}"]) for k in (1, 5, 10)),
            f"{found['chance@10']:.3f}",
            _figure(found["median_rank"], 0),
        ]
        for name, run in runs.items()
        for key, found in run["retrieval"].items()
        if found["queries"]
    ]
    return table(columns, rows)


def _shared(runs: Mapping[str, Any]) -> str:
    kept = {name: run["codes"] for name, run in runs.items() if run["codes"]}
    if not kept:
        return ""
    rows = [
        [name, f"{codes['joint_share']:.3f}", codes["active"], _several(codes["perplexity"], 1)]
        for name, codes in kept.items()
    ]
    result = table(["run", "joint use", "active codes", "perplexity of each side"], rows)
    labels = [
        [name, label, *(_several(figures[key], 3) for key in LABELED)]
        for name, codes in kept.items()
        for label, figures in codes["labels"].items()
    ]
    if labels:
        result += table(["run", "label", *LABELED.values()], labels)
    aligned = [
        [name, within, f"{found['share']:.3f}", f"{found['kappa']:.3f}"]
        for name, codes in kept.items()
        for within, found in codes.get("agreement", {}).items()
    ]
    if aligned:
        result += table(["run", "frames apart", "equal codes", "above chance (kappa)"], aligned)
    return result


LABELED = {
    "purity": "purity of each side",
    "majority": "of one code alone",
    "shared_information": "information shared with the label",
    "transfer": "transfer, first to second and back",
}


def _differences(differences: Mapping[str, Any]) -> str:
    rows = [[key, _figure(found, 3, "+")] for key, found in differences.items()]
    return table(["run", "R@10, both directions, same queries"], rows) if rows else ""


def _most_joint(runs: Mapping[str, Any]) -> str | None:
    shares = {
        name: np.nan_to_num(run["codes"]["joint_share"])
        for name, run in runs.items()
        if run["codes"]
    }
    return max(shares, key=lambda name: shares[name]) if shares else None


def _figure(found: Mapping[str, float], digits: int = 3, sign: str = "") -> str:
    values = (found["score"], found["low"], found["high"])
    score, low, high = (f"{value:{sign}.{digits}f}" for value in values)
    return f"{score} ({low} to {high})"


def _several(values: Sequence[float], digits: int) -> str:
    return ", ".join(f"{value:.{digits}f}" for value in values)
