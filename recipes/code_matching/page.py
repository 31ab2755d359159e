"""The page of an evaluation: scores, and what the most used codes fire on in each modality."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from audiossl.reports.page import Section, page, paragraph, table
from audiossl.whole import write_text
from recipes.code_matching.cards import Cards, Shown
from recipes.code_matching.embedded import Embedded


def write_page(
    folder: Path, scores: Mapping[str, Any], runs: Mapping[str, Embedded], show: Shown
) -> None:
    """Write report.html.

    Args:
        folder: Where.
        scores: What scores.json holds.
        runs: Every system, under its first seed.
        show: What its codes can be shown with.
    """
    said = f"{scores['pairs']} pairs of {scores['concepts']} concepts; a query that finds another "
    said += "pair of its concept is right. Ranges hold 95 % of bootstrap draws of whole groups"
    seeds = max(run["seeds"] for run in scores["runs"].values())
    said += f" and of the {seeds} seeds." if seeds > 1 else "."
    sections = [
        Section("Retrieval", _retrieval(scores["runs"])),
        Section("Against the first run", _differences(scores["differences"])),
        Section("Shared codes", _shared(scores["runs"])),
        Section("Where codes fire", _localized(scores["runs"])),
        Section("Words", _words(scores["runs"])),
    ]
    shown = _most_joint(scores["runs"])
    if shown is not None:
        first = ", its first seed" if scores["runs"][shown]["seeds"] > 1 else ""
        about = (
            f"Of the run {shown}{first}; codes that all sides use most come first. Of each side, "
            "clips in which the code fires longest, if possible of different groups (songs, "
            "texts); a click on a picture plays it, from a little before to a little after. Blue "
            "bars (in text, marked letters) are where the code fires. The gray box has both sides "
            "of one clip: what is marked there should be the same thing."
        )
        cards = Cards(runs[shown], show)
        sections.append(Section("Listen and look", paragraph(about, "meta") + cards.html()))
    title = f"Code matching: {' and '.join(show.corpus.sides)}"
    write_text(folder / "report.html", page(title, paragraph(said, "meta"), sections))


def _retrieval(runs: Mapping[str, Any]) -> str:
    columns = ["run", "by", "from", "R@1", "R@5", "R@10", "chance at 10", "median rank"]
    about = (
        "Embeddings are what the method retrieves with; codes are the histograms of a clip alone; "
        "fused, where it was asked for, adds the ranks of both. R@k is the share of queries with a "
        "right clip among the best k; both directions count together here."
    )
    main, rest = [], []
    for name, run in runs.items():
        for key, found in run["retrieval"].items():
            if not found["queries"]:
                continue
            what, pool, way = key.split(", ")
            if way == "both":
                main.append([name, what, pool, *_figures(found)])
            else:
                rest.append([name, what, f"{pool}, {way}", *_figures(found)])
    result = paragraph(about, "meta") + (table(columns, main) if main else "")
    if not rest:
        return result
    return result + f"<details><summary>Each direction</summary>{table(columns, rest)}</details>"


def _figures(found: Mapping[str, Any]) -> list[str]:
    recalls = [_figure(found[f"recall@{k}"]) for k in (1, 5, 10)]
    return [*recalls, f"{found['chance@10']:.3f}", _figure(found["median_rank"], 0)]


def _shared(runs: Mapping[str, Any]) -> str:
    kept = {name: run["codes"] for name, run in runs.items() if run["codes"]}
    if not kept:
        return ""
    about = (
        "Joint use: of the codes used at least five times, the share of which every side makes "
        "over a tenth of the use. Perplexity: as many equally likely codes would be as uncertain. "
        "Purity: frames that have the label most frequent for their code; transfer: frames of the "
        "second side that are named rightly by what their code means on the first, and back. "
        "Purity of labels: frames that have the code most frequent for their label; purity "
        "of one code: what a single code for everything would have. Sides told apart: how often a "
        "linear probe names the side of a clip by its codes, half of the time if they are shared."
    )
    rows = [
        [
            name,
            _seeds(runs[name]),
            f"{codes['active']:.0f}",
            _several(codes["perplexity"], 1),
            f"{codes['side_leakage']:.3f}",
        ]
        for name, codes in kept.items()
    ]
    columns = ["run", "joint use", "active codes", "perplexity of each side", "sides told apart"]
    result = paragraph(about, "meta") + table(columns, rows)
    labels = [
        [name, label, *(_several(figures[key], 3) for key in LABELED)]
        for name, codes in kept.items()
        for label, figures in codes["labels"].items()
    ]
    if labels:
        result += table(["run", "label", *LABELED.values()], labels)
    return result


def _seeds(run: Mapping[str, Any]) -> str:
    each = ", ".join(f"{share:.3f}" for share in run["joint_share_of_seeds"])
    mean = f"{run['codes']['joint_share']:.3f}"
    return f"{mean} ({each})" if run["seeds"] > 1 else mean


def _localized(runs: Mapping[str, Any]) -> str:
    kept = {n: run["codes"] for n, run in runs.items() if "localization" in run["codes"]}
    if not kept:
        return ""
    about = (
        "Both sides lie on one time axis. Equal codes: frames with the same code on both sides at "
        "the same time, and above chance. Overlap: of the codes that both sides of a clip have, "
        "frames where both fire over frames where either does; its chance is that of a clip turned "
        "around by a random time."
    )
    rows = [
        [
            name,
            *(_share_and(codes["agreement"][f"within {t}"], "kappa") for t in (0, 1)),
            _share_and(codes["localization"]["overlap"], "chance", "score"),
            f"{codes['localization']['overlap']['codes_in_both']:.3f}",
        ]
        for name, codes in kept.items()
    ]
    columns = ["run", "equal codes (kappa)", "one frame off (kappa)", "overlap (chance)",
               "codes of a clip on both sides"]  # fmt: skip
    frames = [
        [
            name,
            way,
            *(f"{r:.3f} ({c:.3f})" for r, c in zip(found["recall"], found["chance"], strict=True)),
            f"{found['median_error_ms']:.0f}",
        ]
        for name, codes in kept.items()
        for way, found in codes["localization"]["frames"].items()
    ]
    heads = ["run", "frames", "found at once (chance)", "within 1", "within 2", "median error, ms"]
    return paragraph(about, "meta") + table(columns, rows) + table(heads, frames)


def _share_and(found: Mapping[str, float], other: str, share: str = "share") -> str:
    return f"{found[share]:.3f} ({found[other]:.3f})"


def _words(runs: Mapping[str, Any]) -> str:
    about = (
        "Codes as detectors of words. Precision: of the frames of a code, those in the word; "
        "recall: of the word's tokens, those in which the code fires. "
        "Of codes used five times or more."
    )
    rows = [
        [
            name,
            side,
            found["codes"],
            f"{found['mean_f1']:.3f}",
            found["f1_above_half"],
            ", ".join(f"{row[0]['word']} {row[0]['f1']:.2f}" for row in found["best"][:5]),
        ]
        for name, run in runs.items()
        for side, found in run["codes"].get("words", {}).items()
    ]
    columns = ["run", "side", "codes", "mean F1 of their best words", "above 0.5", "best (F1)"]
    return paragraph(about, "meta") + table(columns, rows) if rows else ""


LABELED = {
    "purity": "purity of each side",
    "cluster_purity": "purity of labels",
    "majority": "purity of one code",
    "shared_information": "shared information",
    "transfer": "transfer, there and back",
}


def _differences(differences: Mapping[str, Any]) -> str:
    rows = [[key, _figure(found, 3, "+")] for key, found in differences.items()]
    return table(["run (by, from)", "R@10, both directions, same queries"], rows) if rows else ""


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
