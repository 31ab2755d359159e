"""The page of an evaluation of code matching: scores, and what the most used codes fire on."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from audiossl.probing.bootstrap import Interval
from audiossl.probing.pair_codes import SharedCodes
from audiossl.probing.pair_embeddings import PairEmbeddings
from audiossl.probing.pair_evaluation import PairEvaluation, SystemScores
from audiossl.probing.pair_retrieval import RetrievalScores
from audiossl.probing.retrieval import KS
from audiossl.reports.code_examples import CodeExamples, ExampleSource
from audiossl.reports.page import Section, page, paragraph, table

Systems = Mapping[str, SystemScores]


def pair_evaluation_page(
    scores: PairEvaluation, runs: Mapping[str, PairEmbeddings], source: ExampleSource
) -> str:
    """Write the page.

    Args:
        scores: What was measured.
        runs: Embeddings under the first seed of every system.
        source: What examples of its codes are shown from.
    """
    seeds = max(system.seeds for system in scores.systems.values())
    lead = (
        f"{scores.pairs} pairs of {scores.concepts} concepts; a query that finds another pair of "
        "its concept is right. Ranges hold 95 % of bootstrap draws of whole groups"
    ) + (f" and of the {seeds} seeds." if seeds > 1 else ".")
    sections = [
        Section("Retrieval", _retrieval(scores.systems)),
        Section("Against the first run", _gains(scores)),
        Section("Shared codes", _shared(scores.systems)),
        Section("Where codes fire", _localized(scores.systems)),
        Section("Words", _words(scores.systems)),
        Section("Listen and look", _examples(scores.systems, runs, source)),
    ]
    title = f"Code matching: {' and '.join(source.corpus.modalities)}"
    return page(title, paragraph(lead, "meta"), sections)


def _retrieval(systems: Systems) -> str:
    columns = ["run", "by", "from", *(f"R@{k}" for k in KS), "chance at 10", "median rank"]
    about = (
        "Embeddings are what the method retrieves with; codes are the histograms of a clip alone; "
        "fused, where it was asked for, adds the ranks of both. R@k is the share of queries with a "
        "right clip among the best k; both directions count together here."
    )
    rows = [
        (one.condition.both, _retrieval_row(name, one))
        for name, system in systems.items()
        for one in system.retrieval
    ]
    together = [row for both, row in rows if both]
    result = paragraph(about, "meta") + (table(columns, together) if together else "")
    directed = [row for both, row in rows if not both]
    if not directed:
        return result
    each = table(columns, directed)
    return result + f"<details><summary>Each direction</summary>{each}</details>"


def _retrieval_row(name: str, one: RetrievalScores) -> list[str]:
    recalls = [_interval(one.recall[k]) for k in KS]
    source = f"{one.condition.pool}, {one.condition.direction}"
    figures = [*recalls, f"{one.chance[KS[-1]]:.3f}", _interval(one.median_rank, 0)]
    return [name, one.condition.by, source, *figures]


def _gains(scores: PairEvaluation) -> str:
    rows = [
        [
            f"{gain.system} above {gain.control} ({gain.condition})",
            _interval(gain.difference, 3, "+"),
        ]
        for gain in scores.gains
    ]
    return table(["run (by, from)", "R@10, both directions, same queries"], rows) if rows else ""


def _shared(systems: Systems) -> str:
    about = (
        "Joint use: of the codes used at least five times, the share of which every modality makes "
        "over a tenth of the use. Perplexity: as many equally likely codes would be as uncertain. "
        "Purity: frames that have the label most frequent for their code; transfer: frames of the "
        "second modality that are named rightly by what their code means on the first, and back. "
        "Purity of labels: frames that have the code most frequent for their label; purity "
        "of one code: what a single code for everything would have. Modalities told apart: how "
        "often a linear probe names the modality of a clip by its codes, half of the time if they "
        "are shared."
    )
    rows = [
        [
            name,
            _joint_use(systems[name]),
            f"{codes.figures.active:.0f}",
            _several(codes.figures.perplexity, 1),
            f"{codes.modality_leakage:.3f}",
        ]
        for name, codes in _with_codes(systems)
    ]
    if not rows:
        return ""
    columns = ["run", "joint use", "active codes", "perplexity of each modality",
               "modalities told apart"]  # fmt: skip
    labels = [
        [name, label, *(_several(getattr(figures, key), 3) for key in LABELED)]
        for name, codes in _with_codes(systems)
        for label, figures in codes.labels.items()
    ]
    by_label = table(["run", "label", *LABELED.values()], labels) if labels else ""
    return paragraph(about, "meta") + table(columns, rows) + by_label


def _joint_use(system: SystemScores) -> str:
    assert system.codes is not None
    each = ", ".join(f"{share:.3f}" for share in system.joint_share_of_seeds)
    mean = f"{system.codes.figures.joint_share:.3f}"
    return f"{mean} ({each})" if system.seeds > 1 else mean


def _localized(systems: Systems) -> str:
    about = (
        "Both modalities lie on one time axis. Equal codes: frames with the same code on both at "
        "the same time, and above chance. Overlap: of the codes that both modalities of a clip "
        "have, frames where both fire over frames where either does; its chance is that of a clip "
        "turned around by a random time."
    )
    located = [
        (name, codes, codes.localization)
        for name, codes in _with_codes(systems)
        if codes.localization is not None
    ]
    if not located:
        return ""
    rows = [
        [
            name,
            *(f"{one.share:.3f} ({one.kappa:.3f})" for one in codes.agreement.values()),
            f"{places.overlap.score:.3f} ({places.overlap.chance:.3f})",
            f"{places.overlap.codes_in_both:.3f}",
        ]
        for name, codes, places in located
    ]
    columns = ["run", "equal codes (kappa)", "one frame off (kappa)", "overlap (chance)",
               "codes of a clip on both modalities"]  # fmt: skip
    frames = [
        [
            name,
            direction,
            *(f"{r:.3f} ({c:.3f})" for r, c in zip(one.recall, one.chance, strict=True)),
            f"{1000 * one.median_error / places.frame_rate:.0f}",
        ]
        for name, _, places in located
        for direction, one in places.frames.items()
    ]
    heads = ["run", "frames", "found at once (chance)", "within 1", "within 2", "median error, ms"]
    return paragraph(about, "meta") + table(columns, rows) + table(heads, frames)


def _words(systems: Systems) -> str:
    about = (
        "Codes as detectors of words. Precision: of the frames of a code, those in the word; "
        "recall: of the word's tokens, those in which the code fires. "
        "Of codes used five times or more."
    )
    rows = [
        [
            name,
            modality,
            f"{figures.codes:g}",
            f"{figures.mean_f1:.3f}",
            f"{figures.f1_above_half:g}",
            ", ".join(f"{words[0].word} {words[0].f1:.2f}" for words in figures.best[:5]),
        ]
        for name, codes in _with_codes(systems)
        for modality, figures in codes.words.items()
    ]
    columns = ["run", "modality", "codes", "mean F1 of their best words", "above 0.5", "best (F1)"]
    return paragraph(about, "meta") + table(columns, rows) if rows else ""


def _examples(systems: Systems, runs: Mapping[str, PairEmbeddings], source: ExampleSource) -> str:
    """Show what the codes fire on of the run that uses them most jointly."""
    shares = {name: codes.figures.joint_share for name, codes in _with_codes(systems)}
    if not shares:
        return ""
    shown = max(shares, key=lambda name: np.nan_to_num(shares[name]))
    first = ", its first seed" if systems[shown].seeds > 1 else ""
    about = (
        f"Of the run {shown}{first}; codes that all modalities use most come first. Of each, "
        "clips in which the code fires longest, if possible of different groups (songs, "
        "texts); a click on a picture plays it, from a little before to a little after. Blue "
        "bars (in text, marked letters) are where the code fires. The gray box has both modalities "
        "of one clip: what is marked there should be the same thing."
    )
    return paragraph(about, "meta") + CodeExamples(runs[shown], source).html()


LABELED = {
    "purity": "purity of each modality",
    "cluster_purity": "purity of labels",
    "majority": "purity of one code",
    "shared_information": "shared information",
    "transfer": "transfer, there and back",
}
"""Field of `CodeFigures` to the head of its column."""


def _with_codes(systems: Systems) -> Iterator[tuple[str, SharedCodes]]:
    for name, system in systems.items():
        if system.codes is not None:
            yield name, system.codes


def _interval(interval: Interval, digits: int = 3, sign: str = "") -> str:
    values = (interval.score, interval.low, interval.high)
    score, low, high = (f"{value:{sign}.{digits}f}" for value in values)
    return f"{score} ({low} to {high})"


def _several(values: Sequence[float], digits: int) -> str:
    return ", ".join(f"{value:.{digits}f}" for value in values)
